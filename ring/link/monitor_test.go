package link

import (
	"container/heap"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rain/ring"
)

// channel carries pings between two monitors in virtual time.
type channel struct {
	t     *rapid.T
	now   ring.Instant
	ends  [2]*Monitor
	wake  [2]ring.Instant
	incs  [2]ring.Incarnation
	cut   [2]bool // what end i sends is lost
	loss  float64
	delay time.Duration // at most; so pings overtake each other
	again float64       // share that comes twice
	fly   flights
	told  [2][]Transition
}

type flight struct {
	at   ring.Instant
	to   int
	ping Ping
}

type flights []flight

func (f flights) Len() int           { return len(f) }
func (f flights) Less(i, j int) bool { return f[i].at < f[j].at }
func (f flights) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)        { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

func newChannel(t *rapid.T) *channel {
	c := &channel{t: t, now: 1_000_000_000, delay: 200 * time.Microsecond}
	c.restart(0)
	c.restart(1)
	return c
}

func (c *channel) restart(i int) {
	c.incs[i]++
	m, err := New(DefaultConfig(), c.incs[i], c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	c.ends[i], c.wake[i], c.told[i] = m, c.now, nil
}

func (c *channel) chance(p float64) bool {
	return p > 0 && rapid.Float64Range(0, 1).Draw(c.t, "chance") < p
}

func (c *channel) take(i int, e Effects) {
	c.told[i] = append(c.told[i], e.Reports...)
	c.wake[i] = e.Wake
	for _, p := range e.Send {
		for range 2 {
			if !c.cut[i] && !c.chance(c.loss) {
				d := time.Duration(rapid.Int64Range(1000, int64(c.delay)).Draw(c.t, "delay"))
				heap.Push(&c.fly, flight{c.now.Add(d), 1 - i, p})
			}
			if !c.chance(c.again) {
				break
			}
		}
	}
	c.check()
}

// check is the promise at every moment.
func (c *channel) check() {
	a, b := c.ends[0], c.ends[1]
	if a.peer != b.inc || b.peer != a.inc {
		return // not yet one session
	}
	if d := diff(a.history.h, b.history.h); d > uint64(a.cfg.Slack) {
		c.t.Fatalf("histories differ by %d: %d and %d", d, a.history.h, b.history.h)
	}
	if a.history.h == b.history.h && a.Up() != b.Up() {
		c.t.Fatalf("equal histories, %v and %v", a.Up(), b.Up())
	}
}

func (c *channel) run(d time.Duration) {
	end := c.now.Add(d)
	for {
		at, who := min(c.wake[0], c.wake[1]), 0
		if c.wake[1] < c.wake[0] {
			who = 1
		}
		if len(c.fly) > 0 && c.fly[0].at < at {
			f := heap.Pop(&c.fly).(flight)
			if f.at > end {
				heap.Push(&c.fly, f)
				break
			}
			c.now = max(c.now, f.at)
			p, err := ParsePing(f.ping.Append(nil))
			if err != nil {
				c.t.Fatal(err)
			}
			c.take(f.to, c.ends[f.to].Receive(c.now, p))
			continue
		}
		if at > end {
			break
		}
		c.now = max(c.now, at)
		c.take(who, c.ends[who].Tick(c.now))
	}
	c.now = max(c.now, end)
}

func (c *channel) both(up bool) bool {
	a, b := c.ends[0], c.ends[1]
	return a.Up() == up && b.Up() == up && a.history.h == b.history.h
}

// TestAnyChannel: loss, doubling, overtaking, one-way and both-way cuts and
// restarts in any order. The slack holds at every moment; a channel that stays
// good brings both ends Up with one history, one that stays cut both Down.
func TestAnyChannel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		for range rapid.IntRange(1, 12).Draw(t, "acts") {
			switch rapid.IntRange(0, 4).Draw(t, "act") {
			case 0:
				c.cut = [2]bool{rapid.Bool().Draw(t, "cut0"), rapid.Bool().Draw(t, "cut1")}
			case 1:
				c.loss = rapid.Float64Range(0, 0.6).Draw(t, "loss")
			case 2:
				c.again = rapid.Float64Range(0, 0.3).Draw(t, "again")
			case 3:
				c.delay = time.Duration(rapid.Int64Range(2000, int64(60*time.Millisecond)).Draw(t, "late"))
			case 4:
				c.restart(rapid.IntRange(0, 1).Draw(t, "restart"))
			}
			c.run(time.Duration(rapid.Int64Range(0, int64(700*time.Millisecond)).Draw(t, "for")))
		}
		c.loss, c.again, c.delay = 0, 0, time.Millisecond
		way := rapid.IntRange(1, 3).Draw(t, "way")
		c.cut = [2]bool{way&1 != 0, way&2 != 0}
		c.run(400 * time.Millisecond)
		if c.ends[0].Up() || c.ends[1].Up() {
			t.Fatalf("cut %v for 400ms: %v and %v", c.cut, c.ends[0].Up(), c.ends[1].Up())
		}
		c.cut = [2]bool{}
		c.run(3 * time.Second) // 64 echoes of 20ms at most, and as long for luck
		if !c.both(true) {
			t.Fatalf("good for 3s: %+v and %+v", c.ends[0].Info(), c.ends[1].Info())
		}
	})
}

// TestOneCutOneReport: a cut, one way or both, and its mending cost each end one
// report each.
func TestOneCutOneReport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		c.run(15 * time.Second)
		if !c.both(true) || len(c.told[0]) != 1 || len(c.told[1]) != 1 {
			t.Fatalf("at first: %v and %v", c.told[0], c.told[1])
		}
		way := rapid.IntRange(1, 3).Draw(t, "way")
		c.cut = [2]bool{way&1 != 0, way&2 != 0}
		c.run(time.Second)
		c.cut = [2]bool{}
		c.run(time.Second)
		for i, told := range c.told {
			if len(told) != 3 || !told[0].Up || told[1].Up || !told[2].Up {
				t.Fatalf("end %d: %v", i, told)
			}
		}
	})
}

// TestLateCaller: a caller that was not run for a while does not take its own
// pause for the channel's.
func TestLateCaller(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		c.run(time.Second)
		c.now = c.now.Add(time.Second) // nobody ran
		c.run(time.Second)
		if !c.both(true) || len(c.told[0]) != 1 || len(c.told[1]) != 1 {
			t.Fatalf("after a pause: %v and %v", c.told[0], c.told[1])
		}
	})
}

// TestFlapping: a path that works for 150ms out of every 300 is Up ever more
// seldom.
func TestFlapping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		for range 100 {
			c.cut = [2]bool{}
			c.run(150 * time.Millisecond)
			c.cut = [2]bool{true, true}
			c.run(150 * time.Millisecond)
		}
		if n := len(c.told[0]); n > 12 {
			t.Fatalf("%d reports of a path that flapped 100 times", n)
		}
		c.cut = [2]bool{}
		c.run(3 * time.Second)
		if !c.both(true) {
			t.Fatalf("good again for 3s: %+v", c.ends[0].Info())
		}
	})
}

func TestMeasures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		c.run(2 * time.Second)
		for _, m := range c.ends {
			if i := m.Info(); i.RTT < 2*time.Microsecond || i.RTT > 400*time.Microsecond || i.Loss != 0 || i.Transitions != 1 {
				t.Fatalf("clean channel: %+v", i)
			}
		}
		c.cut[0] = true
		c.run(60 * time.Millisecond)
		c.cut[0] = false
		c.run(60 * time.Millisecond)
		if i := c.ends[1].Info(); i.Loss < 2.0/64 || i.Loss > 4.0/64 {
			t.Fatalf("three pings of 64 lost: %+v", i)
		}
	})
}

// TestRestartIsANewSession: the ping of an older incarnation changes nothing.
func TestRestartIsANewSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChannel(t)
		c.run(time.Second)
		old := Ping{Inc: c.incs[1], Peer: c.incs[0], Count: c.ends[1].history.h + 1, No: 1 << 40, Echo: c.ends[0].no, Held: 0}
		c.restart(1)
		c.run(time.Second)
		if !c.both(true) || c.ends[0].history.h != 1 {
			t.Fatalf("after the restart: %+v and %+v", c.ends[0].Info(), c.ends[1].Info())
		}
		before := c.ends[0].Info()
		if before.Need != DefaultConfig().UpEchoes {
			t.Fatalf("the other end's restart counts as a flap: %+v", before)
		}
		c.take(0, c.ends[0].Receive(c.now, old))
		if after := c.ends[0].Info(); after != before {
			t.Fatalf("a ping of the dead changed %+v to %+v", before, after)
		}
		past := c.ends[0].Past()
		if n := len(past); n != 3 || past[1].Cause != CauseRestart || past[1].Up || past[1].Count != 0 {
			t.Fatalf("history: %v", past)
		}
	})
}

func TestBadConfig(t *testing.T) {
	if _, err := New(Config{}, 1, 1); err == nil {
		t.Fatal("an empty config was taken")
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}

// FuzzParsePing: any bytes, and whatever comes of them given to a monitor.
func FuzzParsePing(f *testing.F) {
	f.Add(Ping{Inc: 3, Peer: 1, Up: true, Count: 1, Seen: 1, No: 9, Echo: 1, Held: time.Millisecond}.Append(nil))
	f.Add(Ping{Inc: 1 << 60, Peer: 1, Count: 1 << 63, No: 1, Held: -1}.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePing(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if again := p.Append(nil); string(again) != string(b) {
			t.Fatalf("%x became %x", b, again)
		}
		m, err := New(DefaultConfig(), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		e := m.Receive(2, p)
		if len(e.Reports) > 2*MinSlack || len(e.Send) > 1 {
			t.Fatalf("%d reports, %d pings", len(e.Reports), len(e.Send))
		}
	})
}
