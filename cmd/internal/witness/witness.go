// Package witness is the witness of policy "witness": a small program on a box
// that is no node. It names, once for each view of the ring, the member whose half
// counts if exactly half of the view is left: the first that asks.
//
// Guarantees: for one view it never names two members, also across restarts: a
// name is on disk before it is told. Who asks has proven the cluster key.
//
// Limits: it keeps the names of the newest Keep views; a file that does not read
// keeps it from starting, because a forgotten name could be given anew. One
// process at a time may use a folder: its address is the lock.
//
// Service "ring.witness" (see rain/ring/host/bulk), big-endian. Question: version
// u8 = 1 | generation u32 | view u64. Answer: named id u32; 0: view 0 was asked
// for, which is a ping, or the name could not be written down.
package witness

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"rain/conf"
	"rain/ring"
	"rain/ring/host/bulk"
)

const (
	service = "ring.witness"
	version = 1
	// ID is the witness's own among the nodes of its cluster; no node may have it.
	ID ring.NodeID = 1<<32 - 1
	// Keep is of how many views the names are kept.
	Keep     = 4096
	question = 1 + 4 + 8
	answer   = 4
)

// Config is what a witness is told at its start.
type Config struct {
	Listen netip.AddrPort
	Data   string // folder of its own
	Keys   []conf.Secret
}

// register holds who was named.
type register struct {
	path  string
	mu    sync.Mutex
	named []name
}

// name is one line of the file.
type name struct {
	Generation uint32      `json:"generation"`
	View       uint64      `json:"view"`
	Node       ring.NodeID `json:"node"`
}

type file struct {
	Version int    `json:"v"`
	Named   []name `json:"named"` // as they were named, the newest last
}

func openRegister(dir string) (*register, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("witness: data folder: %w", err)
	}
	r := &register{path: filepath.Join(dir, "witness.json")}
	raw, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var f file
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err == nil && f.Version != version {
		err = fmt.Errorf("version %d, this program reads %d", f.Version, version)
	}
	if err != nil {
		return nil, fmt.Errorf("witness: %s does not read: %w; whom it named is not known. Be sure that all nodes of the cluster see each other, then remove it", r.path, err)
	}
	r.named = f.Named
	return r, nil
}

// ask returns who is named for a view; if nobody, it is the asker from now on.
func (r *register) ask(q ring.WitnessAsk, asker ring.NodeID) (ring.NodeID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.named {
		if n.Generation == q.Generation && n.View == q.View {
			return n.Node, nil
		}
	}
	next := append(append([]name(nil), r.named...), name{q.Generation, q.View, asker})
	if len(next) > Keep {
		next = next[len(next)-Keep:]
	}
	raw, err := json.Marshal(file{version, next})
	if err != nil {
		return 0, fmt.Errorf("witness: %w", err)
	}
	if err := conf.Replace(r.path, append(raw, '\n')); err != nil {
		return 0, err
	}
	r.named = next
	return asker, nil
}

// Run is the witness until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if len(cfg.Keys) == 0 {
		return errors.New("witness: no cluster key")
	}
	bc := bulk.DefaultConfig()
	bc.Key, bc.ID, bc.Listen = cfg.Keys[0], ID, []netip.AddrPort{cfg.Listen}
	for _, k := range cfg.Keys[1:] {
		bc.OldKeys = append(bc.OldKeys, k)
	}
	server, err := bulk.NewServer(bc, log)
	if err != nil {
		return err
	}
	r, err := openRegister(cfg.Data) // after the address: it is the lock
	if err != nil {
		server.Close()
		return err
	}
	server.Handle(service, func(_ context.Context, peer ring.NodeID, conn net.Conn) { r.serve(peer, conn, log) })
	log.Info("witness runs", slog.String("listen", cfg.Listen.String()), slog.Int("named", len(r.named)))
	return server.Run(ctx)
}

func (r *register) serve(peer ring.NodeID, conn net.Conn, log *slog.Logger) {
	for {
		var b [question]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != version {
			return
		}
		q := ring.WitnessAsk{Generation: binary.BigEndian.Uint32(b[1:]), View: binary.BigEndian.Uint64(b[5:])}
		var named ring.NodeID
		if q.View != 0 {
			var err error
			if named, err = r.ask(q, peer); err != nil {
				log.Error("a name cannot be written down, so nobody is named", slog.Any("err", err))
			} else {
				log.Info("named", slog.Uint64("view", q.View), slog.Uint64("generation", uint64(q.Generation)), slog.String("node", named.String()), slog.String("asked", peer.String()))
			}
		}
		if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, uint32(named))); err != nil {
			return
		}
	}
}

// Ask asks a witness that client knows as peer ID; view 0 only looks whether it
// is there.
func Ask(ctx context.Context, client *bulk.Client, q ring.WitnessAsk) (named ring.NodeID, err error) {
	err = client.Call(ctx, ID, service, func(conn net.Conn) error {
		if d, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(d); err != nil {
				return err
			}
		}
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte{version}, q.Generation), q.View)
		if _, err := conn.Write(b); err != nil {
			return err
		}
		var a [answer]byte
		if _, err := io.ReadFull(conn, a[:]); err != nil {
			return err
		}
		named = ring.NodeID(binary.BigEndian.Uint32(a[:]))
		return nil
	})
	return named, err
}
