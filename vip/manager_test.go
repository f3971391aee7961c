package vip

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rain/ring"
)

type ids = map[ring.NodeID]int

func TestManagerLife(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(4)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.expect("alone", ids{1: 4})
		b := c.join(2, preparer, false)
		time.Sleep(1900 * time.Millisecond)
		c.expect("before the view is settled", ids{1: 4})
		time.Sleep(3 * time.Second)
		c.expect("balanced", ids{1: 2, 2: 2})
		d := c.join(3, preparer, false)
		time.Sleep(5 * time.Second)
		c.kill(b)
		time.Sleep(testLease + testLease/8 + 60*time.Millisecond)
		if n := c.counts(); n[1]+n[3] != 4 || n[1] != 2 {
			c.t.Errorf("after the crash: %v", n)
		}
		for _, st := range a.m.Status() {
			if st.Cause == "crash 0.0.0.2" && (st.Gap < testLease/2 || st.Gap > 2*testLease) {
				c.t.Errorf("gap of a crash: %+v", st)
			}
		}
		if err := d.m.Drain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		c.expect("drained", ids{1: 4})
		if err := d.m.Undrain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		c.expect("undrained", ids{1: 2, 3: 2})
		to, addr := ring.NodeID(1), testPools(1)[0].Addresses[0].Addr()
		if a.rider.Table().Find(addr).Owner.ID == 1 {
			to = 3
		}
		if err := a.m.Move(c.ctx, addr, to); err != nil {
			c.t.Fatal(err)
		}
		if st := a.m.Status()[0]; st.Holder != to || !st.Answering || st.Pin != to {
			c.t.Errorf("moved to %s: %+v", to, st)
		}
		time.Sleep(5 * time.Second)
		c.expect("levelled after the move", ids{1: 2, 3: 2})
	})
}

func TestAloneDrainsToNobody(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		none := c.join(2, false, true)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		c.expect("beside a node without a driver", ids{1: 2})
		if err := a.m.Drain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		c.expect("drained", ids{})
		if err := none.m.Move(c.ctx, testPools(1)[0].Addresses[0].Addr(), 2); err == nil {
			c.t.Error("moved to a node without a driver")
		}
		if err := none.m.SetPools(c.ctx, nil); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(a.m.Status()); n != 0 {
			c.t.Errorf("%d addresses left in the table", n)
		}
	})
}

// What a server has accepted it has counted as accepted before the address is
// another's: it answers such connections, and no others.
func TestServerEndsBeforeTheAddressGoes(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a, _ := c.join(1, preparer, false), c.join(2, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		c.expect("balanced", ids{1: 1, 2: 1})
		a.slow.Store(true)
		if err := a.m.Drain(c.ctx); err != nil {
			c.t.Fatal(err)
		}
		a.slow.Store(false)
		c.expect("drained", ids{2: 2})
	})
}

// A driver that breaks connections is told to leave first. A move that only levels
// the load then goes no further while a long request runs; others do.
func TestLeaveBeforeSteer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := newCluster(t, ctx, 1)
		var left, steered atomic.Int64
		c.leaver = func(f *fake) Driver { return leaverDriver{f, &left, &steered} }
		a := c.join(1, true, false)
		if err := a.m.SetPools(ctx, testPools(2)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.busy.Store(true)
		c.join(2, true, false)
		time.Sleep(10 * time.Second)
		c.expect("long requests run", ids{1: 2})
		if l, s := left.Load(), steered.Load(); l != 1 || s != 0 {
			t.Errorf("%d times told to leave, %d times steered, want 1 and 0: a try costs no new connection anything", l, s)
		}
		a.busy.Store(false)
		time.Sleep(busyPause)
		c.expect("they have ended", ids{1: 1, 2: 1})
		a.busy.Store(true)
		if err := a.m.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		c.expect("drained all the same", ids{2: 2})
		if l, s := left.Load(), steered.Load(); l != 3 || s != 2 {
			t.Errorf("%d times told to leave, %d times steered, want 3 and 2", l, s)
		}
		cancel()
		for _, m := range c.members {
			<-m.done
		}
		c.wg.Wait()
	})
}

func TestRemovedPoolIsFreed(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a, b := c.join(1, preparer, false), c.join(2, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(3)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := b.m.SetPools(c.ctx, testPools(1)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(a.m.Status()); n != 1 || c.bound != 1 {
			c.t.Errorf("%d addresses, %d sockets left, want 1 and 1", n, c.bound)
		}
	})
}

func TestSuccessorNeverReady(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		b := c.join(2, preparer, false)
		b.noReady.Store(true)
		time.Sleep(10 * time.Second)
		if preparer { // balance never costs a connection
			c.expect("cannot get ready", ids{1: 2})
		}
		ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
		defer cancel()
		if err := a.m.Drain(ctx); err != nil { // but draining must go on
			c.t.Fatal(err)
		}
		c.expect("drained all the same", ids{2: 2})
	})
}

// TestLeaseLapse: a late token pauses the holder, and changes nothing else.
func TestLeaseLapse(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		a := c.join(1, preparer, false)
		if err := a.m.SetPools(c.ctx, testPools(2)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.mu.Lock()
		a.frozen = c.now().Add(50 * time.Millisecond)
		c.mu.Unlock()
		time.Sleep(60 * time.Millisecond)
		c.expect("the lease is over", ids{})
		c.mu.Lock()
		a.frozen = 0
		c.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		c.expect("a new lease", ids{1: 2})
		if st := a.m.Status()[0]; st.Moves != 0 || st.Cause != "start" {
			c.t.Errorf("status %+v", st)
		}
	})
}

// TestChaos kills, drains and joins at random; serveFake checks exclusivity.
func TestChaos(t *testing.T) {
	bubble(t, func(c *cluster, preparer bool) {
		id := ring.NodeID(1)
		chance := rand.New(rand.NewPCG(c.rand.Uint64(), 2)) // c.rand belongs to the ring
		var live []*fake
		for range 3 {
			live = append(live, c.join(id, preparer, false))
			id++
		}
		if err := live[0].m.SetPools(c.ctx, testPools(7)); err != nil {
			c.t.Fatal(err)
		}
		for range 10 {
			time.Sleep(time.Duration(chance.IntN(3000)) * time.Millisecond)
			k := chance.IntN(len(live))
			switch chance.IntN(3) {
			case 0:
				if len(live) > 2 {
					c.kill(live[k])
					live = append(live[:k:k], live[k+1:]...)
				}
			case 1:
				live = append(live, c.join(id, preparer, false))
				id++
			case 2:
				ctx, cancel := context.WithTimeout(c.ctx, time.Duration(chance.IntN(400))*time.Millisecond)
				_ = live[k].m.Drain(ctx) // often interrupted
				cancel()
				_ = live[k].m.Undrain(c.ctx)
			}
		}
		time.Sleep(15 * time.Second)
		lo, hi, sum := 7, 0, 0
		n := c.counts()
		for _, f := range live {
			lo, hi, sum = min(lo, n[f.self.ID]), max(hi, n[f.self.ID]), sum+n[f.self.ID]
		}
		if sum != 7 || hi-lo > 1 {
			c.t.Errorf("at the end %v of 7 addresses are served by %d nodes", n, len(live))
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Driver, c.Port, c.Tick = "x", 0, 0
	c.Pools = []PoolConfig{{Name: "a", Addresses: []string{"10.0.0.1/24", "127.0.1.1", "nonsense", "10.0.0.1/8"}}, {Name: "a"}}
	err := c.Validate()
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 4 {
		t.Errorf("%d faults found at once, want 4: %v", n, err)
	}
	pools, err := ParsePools([]PoolConfig{{Name: "a", Addresses: []string{"10.0.0.1/24", "127.0.1.1"}}})
	if err != nil || pools[0].Addresses[0].Bits() != 24 || pools[0].Addresses[1].Bits() != 32 {
		t.Errorf("pools %v, %v", pools, err)
	}
}
