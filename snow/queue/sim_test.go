package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/sim"
)

// oracle is what the whole run has shown of effects, for all nodes.
type oracle struct {
	next     uint64
	outcomes map[EntryID]string // told to a client: durable
	err      error
}

// effectsDone is an inner state: how often each effect's op was applied.
type effectsDone struct {
	raw  []byte // the ops, one after the other: ids
	seen map[string]int
}

func (d *effectsDone) Apply(_ uint64, _ ring.Member, op []byte) []byte {
	d.raw = append(d.raw, op...)
	d.seen[string(op)]++
	return binary.BigEndian.AppendUint64(nil, uint64(len(d.raw)))
}

// guest is a node's queue in the simulator.
type guest struct {
	*Rider
	done   *effectsDone
	oracle *oracle
}

func newGuest(o *oracle) *guest {
	g := &guest{done: &effectsDone{seen: map[string]int{}}, oracle: o}
	g.Rider = NewRider(map[ring.RiderID]Applier{ring.RiderCatalog: g.done})
	return g
}

// Snapshot and Restore carry the inner state, too.
func (g *guest) Snapshot(w io.Writer) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(g.done.raw))), g.done.raw...)); err != nil {
		return err
	}
	return g.Rider.Snapshot(w)
}

func (g *guest) Restore(r io.Reader) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	raw := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	g.done.raw, g.done.seen = raw, map[string]int{}
	for ; len(raw) > 0; raw = raw[idSize:] {
		g.done.seen[string(raw[:idSize])]++
	}
	return g.Rider.Restore(r)
}

// Work is what nodes do: requests come and end, claims are settled and run, keys
// are repeated, and now and then somebody finishes what is not his.
func (g *guest) Work(rng *rand.Rand, me ring.Member) ([]byte, bool) {
	t := g.Table()
	op := Op{Kind: OpBatch}
	durable := false
	var mine, others []*Entry
	t.Running(func(e *Entry) bool {
		if e.Owner == me {
			mine = append(mine, e)
		} else {
			others = append(others, e)
		}
		return true
	})
	pick := func(list []*Entry, k Kind) *Entry {
		for range 8 {
			if len(list) == 0 {
				break
			}
			if e := list[rng.IntN(len(list))]; e.Kind == k {
				return e
			}
		}
		return nil
	}
	g.oracle.next++
	n := g.oracle.next
	switch r := rng.IntN(100); {
	case r < 25 && len(mine) < 12:
		op.Begins = []NewStream{{N: n, Request: Request{Path: strconv.FormatUint(n, 10)}}}
	case r < 45:
		if e := pick(mine, Stream); e != nil && e.ID.Member == me {
			op.Offsets, op.Ends = []Progress{{e.ID.N, n}}, []uint64{e.ID.N}
		}
	case r < 55:
		op.Kind = OpSettle
		for _, e := range t.Claims(me) {
			op.IDs = append(op.IDs, e.ID)
		}
	case r < 75:
		durable = true
		op = Op{Kind: OpBegin, N: n, Effect: post(strings.Trim(string(rune('`'+rng.IntN(26))), "`"), byte(1+rng.IntN(20)/19))}
	default:
		list := mine
		if rng.IntN(5) == 0 {
			list = others
		}
		if e := pick(list, Effect); e != nil {
			durable = true
			op = Op{Kind: OpFinish, ID: e.ID, Answer: fmt.Appendf(nil, "by %s", me), Rider: ring.RiderCatalog, Inner: appendID(nil, e.ID)}
		} else {
			op = Op{Kind: OpTick, Seq: t.Ticks, ElapsedMS: MaxTick}
		}
	}
	b, err := op.Encode()
	if err != nil {
		g.oracle.err = err
	}
	return b, durable
}

// Resolved notes what a client would have been told.
func (g *guest) Resolved(b []byte, durable bool) {
	op, err := ParseOp(b)
	if err != nil || !durable || op.Kind != OpFinish {
		return
	}
	if e := g.Table().Find(op.ID); e != nil && e.Outcome != nil && e.HasKey { // others expire soon here
		g.oracle.told(e)
	}
}

func (o *oracle) told(e *Entry) {
	text := fmt.Sprintf("%s %x", e.Outcome.Answer, e.Outcome.Result)
	if old, ok := o.outcomes[e.ID]; ok && old != text {
		o.err = fmt.Errorf("the outcome of %s was %q and is %q", e.ID, old, text)
	}
	o.outcomes[e.ID] = text
}

// Check holds the queue to its guarantees after each delivery.
func (g *guest) Check(v ring.View) error {
	t := g.Table()
	err := g.oracle.err
	keys := map[string]bool{}
	t.Running(func(e *Entry) bool {
		if len(v.Members) > 0 && !v.Has(e.Owner) {
			err = fmt.Errorf("%s is owned by %s, who is not in the view", e.ID, e.Owner)
		}
		if e.HasKey && keys[e.keyName()] {
			err = fmt.Errorf("two effects run under one key")
		}
		keys[e.keyName()] = e.HasKey
		if e.Kind == Effect && g.done.seen[e.ID.key()] > 0 {
			err = fmt.Errorf("the op of %s is applied and there is no outcome", e.ID)
		}
		return true
	})
	for id, times := range g.done.seen {
		if times != 1 {
			err = fmt.Errorf("the op of %x is applied %d times", id, times)
		}
	}
	return err
}

// TestUnderFaults runs the queue on simulated rings under crashes, freezes,
// partitions, lost messages, burned disks and cold starts. SEEDS=N bounds how many.
func TestUnderFaults(t *testing.T) {
	seeds := uint64(12)
	if s := os.Getenv("SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SEEDS=%q is not a number", s)
		}
		seeds = n
	}
	var claimed, orphaned, replayed, outcomes uint64
	for seed := uint64(1); seed <= seeds; seed++ {
		o := &oracle{outcomes: map[EntryID]string{}}
		opt := sim.Random(seed)
		opt.ProposeEvery = min(opt.ProposeEvery, 30*time.Millisecond)
		opt.Guest = func(int) sim.Guest { return newGuest(o) }
		c := sim.New(seed, opt, nil)
		if err := c.Soak(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		var first []byte
		for i, s := range c.Guests() {
			g, ok := s.(*guest)
			if !ok {
				t.Fatalf("a guest of type %T", s)
			}
			for id, text := range o.outcomes {
				e := g.Table().Find(id)
				if e == nil || e.Outcome == nil {
					if g.Table().Age < Keep { // it cannot have expired
						t.Fatalf("seed %d: guest %d has lost the outcome of %s, which was told to a client: %q", seed, i, id, text)
					}
					continue
				}
				o.told(e)
			}
			if o.err != nil {
				t.Fatalf("seed %d: %v", seed, o.err)
			}
			var b bytes.Buffer
			if err := g.Snapshot(&b); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
				tab := g.Table()
				claimed, orphaned, replayed = claimed+tab.Claimed, orphaned+tab.Orphaned, replayed+tab.Replayed
			}
		}
		outcomes += uint64(len(o.outcomes))
	}
	t.Logf("%d seeds: %d claimed, %d orphaned, %d outcomes told, %d replayed", seeds, claimed, orphaned, outcomes, replayed)
	if claimed == 0 || orphaned == 0 || outcomes == 0 || replayed == 0 {
		t.Error("the runs tried nothing")
	}
}
