package node

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"rain/ring"
)

// Policy "any": a node without a quorum goes on with its addresses and with what
// it can read, together with those that it reaches. Nothing that changes anything
// does: objects, sites, requests with an effect, settings still need the ring.
//
// Those who reach each other share the addresses by a function of what they last
// agreed on and of who they are, so that within such a part an address has one
// holder; who takes one over waits as after any view change. Two parts may hold
// the same address. As soon as the ring gives this node a lease all that ends.
type alone struct {
	lease atomic.Int64 // a ring.Instant: this node acts by itself until then; 0: it does not
	round uint64
	part  ring.View
}

const (
	aloneAfter   = time.Second     // without a lease that one had
	aloneAtStart = 3 * time.Second // a node that has had none yet: the ring gets its time
)

// leaseUntil is until when this node may answer on addresses and read.
func (n *node) leaseUntil() ring.Instant {
	return max(n.host.LeaseUntil(), ring.Instant(n.alone.lease.Load()))
}

// renewVIPs tells the driver of whichever lease is longer.
func (n *node) renewVIPs(until ring.Instant) {
	n.manager.Renew(max(until, ring.Instant(n.alone.lease.Load())))
}

// goAlone is the loop of policy any.
func (n *node) goAlone(ctx context.Context) error {
	if n.file.Cluster.Policy != "any" {
		return nil
	}
	since, wait := n.host.Now(), aloneAtStart
	defer n.notAlone()
	return every(ctx, n.timing.Lease/4, func() {
		now := n.host.Now()
		if n.host.Primary() {
			n.notAlone()
			since, wait = now, aloneAfter
			return
		}
		if now.Sub(since) < wait {
			return
		}
		n.takePart(now)
	})
}

// takePart goes on as one of those that this node reaches.
func (n *node) takePart(now ring.Instant) {
	a := &n.alone
	part := n.part()
	if !sameMembers(part, a.part) || a.round == 0 {
		a.round++
		a.part = part
		a.lease.Store(int64(now)) // self is who is in the table that comes
		n.vips.Override(n.vips.Agreed().Alone(part, a.round, now.Add(n.timing.Wait())))
		n.log.Warn("no quorum, policy any: this part goes on with its addresses", slog.String("part", part.String()))
		n.host.AddEvent("alone", "without a quorum this part goes on with its addresses: "+part.String(), "policy any", 0)
	}
	until := now.Add(n.timing.Lease)
	a.lease.Store(int64(until))
	n.manager.Renew(until)
}

// notAlone ends it.
func (n *node) notAlone() {
	a := &n.alone
	if a.lease.Swap(0) == 0 {
		return
	}
	a.part = ring.View{}
	n.vips.Override(nil)
	n.manager.Renew(n.host.LeaseUntil())
	n.log.Info("the ring has this node again; its addresses are as agreed")
}

// aloneLife stands for whatever life a box is in: without a quorum a node begins
// a new one every now and then, and keeps its addresses.
const aloneLife = 1

// self is who acts on addresses.
func (n *node) self() ring.Member {
	if n.alone.lease.Load() != 0 {
		return ring.Member{ID: n.file.Node.ID, Inc: aloneLife}
	}
	return n.host.Self()
}

// part is this node and whom it reaches.
func (n *node) part() ring.View {
	v := ring.View{Number: n.vips.Agreed().View.Number, Members: []ring.ViewMember{{Member: ring.Member{ID: n.file.Node.ID, Inc: aloneLife}}}}
	for _, p := range n.tr.Stats().Paths {
		if _, known := v.ByID(p.Peer.ID); p.Up && p.Peer.Inc != 0 && !known {
			v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: p.Peer.ID, Inc: aloneLife}})
			slices.SortFunc(v.Members, func(a, b ring.ViewMember) int { return cmp.Compare(a.ID, b.ID) })
		}
	}
	return v
}

func sameMembers(a, b ring.View) bool {
	return slices.EqualFunc(a.Members, b.Members, func(x, y ring.ViewMember) bool { return x.Member == y.Member })
}
