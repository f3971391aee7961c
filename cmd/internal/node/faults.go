package node

import (
	"fmt"
	"os"
	"time"

	"rain/ring"
	"rain/ring/host/transport"
	"rain/snow/admin"
)

// faults make this node's links fail on purpose, and the node itself.
type faults struct{ n *node }

func (f faults) peer(name string) (ring.NodeID, error) {
	id, ok := f.n.known.id(name)
	if !ok {
		return 0, fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	}
	return id, nil
}

// change edits the fault of a peer's paths over one link, or all.
func (f faults) change(peer, link string, edit func(*transport.Fault)) error {
	id, err := f.peer(peer)
	if err != nil {
		return err
	}
	var names []string
	for _, l := range f.n.file.Links {
		if link == "" || link == l.Name {
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: %s has no link %q", admin.ErrNotFound, f.n.file.Node.Name, link)
	}
	if id == f.n.file.Node.ID {
		return fmt.Errorf("%w: %s has no link to itself", admin.ErrBadInput, peer)
	}
	for _, name := range names {
		now := f.n.tr.Fault(id, name)
		edit(&now)
		f.n.tr.SetFault(id, name, now)
	}
	return nil
}

func (f faults) Cut(peer, link string, oneWay bool) error {
	return f.change(peer, link, func(x *transport.Fault) { x.CutOut, x.CutIn = true, x.CutIn || !oneWay })
}

func (f faults) Heal(peer, link string, oneWay bool) error {
	return f.change(peer, link, func(x *transport.Fault) { x.CutOut, x.CutIn = false, x.CutIn && oneWay })
}

func (f faults) Drop(peer string, percent float64) error {
	return f.change(peer, "", func(x *transport.Fault) { x.Drop = percent })
}

func (f faults) Delay(peer string, d time.Duration) error {
	return f.change(peer, "", func(x *transport.Fault) { x.Delay = d })
}

func (f faults) Clear() error {
	f.n.tr.ClearFaults()
	return nil
}

// faultList is what the status tells.
func (n *node) faultList() []admin.LinkFault {
	out := []admin.LinkFault{}
	for _, x := range n.tr.Faults() {
		out = append(out, admin.LinkFault{
			Peer: n.known.name(x.Peer), Link: x.Link, CutIn: x.CutIn, CutOut: x.CutOut,
			DropPercent: x.Drop, DelayMS: float64(x.Delay.Microseconds()) / 1000,
		})
	}
	return out
}

func (f faults) Crash() error {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return fmt.Errorf("node: crash: %w", err)
	}
	return p.Kill()
}

func (f faults) Freeze() error { return stopProcess() }
