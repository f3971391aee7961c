package vip

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

var errTestUnfit = errors.New("test: the cable is out")

func (f *fake) Unfit() error {
	if f.unfit.Load() {
		return errTestUnfit
	}
	return nil
}

func (f *fake) Notify(changed func()) { f.changed = changed }

func (f *fake) setUnfit(on bool) {
	f.unfit.Store(on)
	f.changed()
}

func (p plainDriver) Unfit() error          { return p.f.Unfit() }
func (p plainDriver) Notify(changed func()) { p.f.Notify(changed) }

// TestUnfit: a node that lives and has its lease, but not its network, gives all
// away at once, without the wait of a crash, and takes part again later.
func TestUnfit(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(4)); err != nil {
			c.t.Fatal(err)
		}
		b := c.join(2, preparer, false)
		time.Sleep(10 * time.Second)
		c.expect("balanced", ids{1: 2, 2: 2})
		b.setUnfit(true)
		time.Sleep(testLease / 2)
		c.expect("without the one's network", ids{1: 4})
		if !a.rider.Table().IsDraining(b.self) {
			c.t.Error("the cluster does not know that the node takes no part")
		}
		moved := 0
		for _, st := range a.m.Status() {
			if st.Cause == "interface down 0.0.0.2" {
				moved++
			}
		}
		if moved != 2 {
			c.t.Errorf("%d addresses moved for the interface, want 2: %+v", moved, a.m.Status())
		}
		a.setUnfit(true)
		time.Sleep(time.Second)
		c.expect("without any network", ids{})
		b.setUnfit(false)
		time.Sleep(time.Second)
		c.expect("with the one's network back", ids{2: 4})
		a.setUnfit(false)
		time.Sleep(10 * time.Second)
		c.expect("with all networks back", ids{1: 2, 2: 2})
	})
}

// TestUnfitWhileDraining: an operator's mark outlives a fault of the network.
func TestUnfitWhileDraining(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		b := c.join(2, preparer, false)
		time.Sleep(10 * time.Second)
		if err := b.m.Drain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		b.setUnfit(true)
		time.Sleep(time.Second)
		b.setUnfit(false)
		time.Sleep(10 * time.Second)
		c.expect("drained before, and still", ids{1: 2})
		if err := b.m.Undrain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		c.expect("undrained", ids{1: 1, 2: 1})
	})
}

// TestBusy: a move that only levels the load waits for running connections, one
// that must be does not.
func TestBusy(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		if !preparer {
			return
		}
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.busy.Store(true)
		b := c.join(2, preparer, false)
		time.Sleep(20 * time.Second)
		c.expect("while connections run", ids{1: 2})
		if st := a.m.Status(); st[0].Moves+st[1].Moves != 0 {
			c.t.Errorf("moved all the same: %+v", st)
		}
		a.busy.Store(false)
		time.Sleep(40 * time.Second)
		c.expect("when they have ended", ids{1: 1, 2: 1})
		b.busy.Store(true)
		addr := testPools(1)[0].Addresses[0].Addr()
		if a.rider.Table().Find(addr).Owner.ID == 1 {
			addr = addr.Next()
		}
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
		defer cancel()
		if err := a.m.Move(ctx, addr, 1); err != nil {
			c.t.Error(err)
		}
		if st := a.m.Status(); !slices.ContainsFunc(st, func(s Status) bool { return s.Addr == addr && s.Holder == 1 && s.Answering }) {
			c.t.Errorf("not moved by an operator: %+v", st)
		}
	})
}
