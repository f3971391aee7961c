package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/host/bulk"
)

// overTCP makes a node use the real bulk path on loopback.
type overTCP struct {
	*bulk.Server
	*bulk.Client
}

func (o overTCP) Call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error {
	return o.Client.Call(ctx, peer, service, f)
}

func newTCPCluster(t testing.TB, n int) *cluster {
	t.Helper()
	key := bytes.Repeat([]byte{7}, 32)
	paths := map[ring.NodeID]overTCP{}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	for i := range n {
		cfg := bulk.DefaultConfig()
		cfg.Key, cfg.ID = key, ring.NodeID(0x00010001+i)
		cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
		server, err := bulk.NewServer(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		client, err := bulk.NewClient(key, cfg.ID)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		paths[cfg.ID] = overTCP{server, client}
		wg.Go(func() { _ = server.Run(ctx) })
	}
	for _, p := range paths {
		for id, q := range paths {
			p.SetPeer(id, q.Addrs())
		}
	}
	c := &cluster{t: t, stall: 2 * time.Second, disk: true, path: func(id ring.NodeID) (Peers, Services) { return paths[id], paths[id] }}
	return startCluster(c, n)
}

func TestOverRealConnections(t *testing.T) {
	c := newTCPCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i, size := range []int{10, smallBody, smallBody + 1, 3 << 20, 20} {
				key, body := fmt.Sprint(w, "/", i), randomBody(uint64(10*w+i), size)
				info, _, err := nodes[(w+i)%3].s.Put(t.Context(), "bucket", key, bytes.NewReader(body), PutOptions{})
				if err != nil || info.Stored < 2 {
					t.Errorf("put %s: stored %d, %v", key, info.Stored, err)
				}
			}
		})
	}
	wg.Wait()
	joiner := nodes[2]
	eventually(t, "all copies are there", func() bool { return joiner.s.Missing() == 0 })
	for w := range 4 {
		for i, size := range []int{10, smallBody, smallBody + 1, 3 << 20, 20} {
			if !bytes.Equal(readAll(t, joiner, fmt.Sprint(w, "/", i)), randomBody(uint64(10*w+i), size)) {
				t.Errorf("object %d/%d differs", w, i)
			}
		}
	}
	// Bodies that are gone come back by the same connections.
	for _, sum := range joiner.s.bodies.all() {
		joiner.s.lose(sum, errDamaged)
	}
	eventually(t, "all copies are back", func() bool { return joiner.s.Missing() == 0 })
}
