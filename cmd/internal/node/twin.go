package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rain/cmd/internal/cli"
	"rain/ring"
)

// Two processes with one id would push each other out of the ring for ever. So
// a node asks the others, before it says a word as a member, whether they hear
// its id at an address that is not its own.
//
// Service node.whois: the id, u32 big-endian; the answer is one line of JSON.
const whoisService = "node.whois"

// whois is what a node hears of an id.
type whois struct {
	Up     bool           `json:"up"`
	Remote netip.AddrPort `json:"remote"`
}

const (
	whoisTimeout = 300 * time.Millisecond
	// twinPatience is longer than the transport takes to see a path as down, so
	// that a node may come back at another address at once.
	twinPatience = 1200 * time.Millisecond
)

func (n *node) serveWhois(_ context.Context, _ ring.NodeID, conn net.Conn) {
	for {
		var id [4]byte
		if _, err := io.ReadFull(conn, id[:]); err != nil {
			return
		}
		var w whois
		for _, p := range n.tr.Stats().Paths {
			if p.Peer.ID == ring.NodeID(binary.BigEndian.Uint32(id[:])) && p.Up {
				w = whois{Up: true, Remote: p.Remote}
			}
		}
		line, err := json.Marshal(w)
		if err != nil {
			return
		}
		if _, err := conn.Write(append(line, '\n')); err != nil {
			return
		}
	}
}

// refuseTwin returns an error that names the other process with this id.
func (n *node) refuseTwin(ctx context.Context) error {
	n.server.Handle(whoisService, n.serveWhois)
	start := time.Now()
	for {
		seenBy, at := n.findTwin(ctx)
		if !at.IsValid() {
			return nil
		}
		if time.Since(start) > twinPatience {
			return cli.New(cli.InUse, "id_in_use", "give this node an id of its own, or stop the other one",
				"node.id: %s is in use by a running node at %s, as %s sees it", n.file.Node.ID, at, seenBy)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (n *node) findTwin(ctx context.Context) (seenBy string, at netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, whoisTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range n.peers() {
		if p.ID == n.file.Node.ID {
			continue
		}
		wg.Go(func() {
			w, err := n.askWhois(ctx, p.ID)
			// No answer says nothing: that node may be down, as in a cold start.
			if err != nil || !w.Up || n.ownAddress(w.Remote) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seenBy, at = p.Name, w.Remote
		})
	}
	wg.Wait()
	return seenBy, at
}

func (n *node) ownAddress(a netip.AddrPort) bool {
	for _, l := range n.file.Links {
		if l.Listen == a {
			return true
		}
	}
	return slices.Contains(n.tr.Addrs(), a)
}

func (n *node) askWhois(ctx context.Context, peer ring.NodeID) (w whois, err error) {
	err = n.client.Call(ctx, peer, whoisService, func(conn net.Conn) error {
		if d, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(d); err != nil {
				return err
			}
		}
		if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, uint32(n.file.Node.ID))); err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		line := make([]byte, 0, 128)
		for len(line) < cap(line) {
			var b [1]byte
			if _, err := io.ReadFull(conn, b[:]); err != nil {
				return err
			}
			if b[0] == '\n' {
				return json.Unmarshal(line, &w)
			}
			line = append(line, b[0])
		}
		return fmt.Errorf("an answer of more than %d bytes", cap(line))
	})
	return w, err
}
