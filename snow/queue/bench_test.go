package queue

import (
	"io"
	"testing"
)

// fullRig has n streams of node 1 and as many ended effects as streams.
func fullRig(b *testing.B, n uint64) *rig {
	g := newRig(b)
	a := member(1, 1)
	g.view(view(1, 1, 2, 3), 0)
	for i := uint64(1); i <= n; i++ {
		g.want(a, begins(i), OK)
		e := post("", 7)
		e.Fingerprint[1], e.Fingerprint[2] = byte(i), byte(i>>8)
		id := g.want(a, Op{Kind: OpBegin, N: n + i, Effect: e}, New).ID
		g.want(a, finish(id, "answer"), Recorded)
	}
	return g
}

// BenchmarkOffsets is the op of a node with 1,000 slow downloads, once a second.
func BenchmarkOffsets(b *testing.B) {
	g := fullRig(b, 1000)
	n := uint64(0)
	var size int
	for b.Loop() {
		op := Op{Kind: OpBatch}
		n += 20_000
		for i := range uint64(1000) {
			op.Offsets = append(op.Offsets, Progress{i + 1, n})
		}
		raw, err := op.Encode()
		if err != nil {
			b.Fatal(err)
		}
		size = len(raw)
		g.index++
		g.r.Apply(g.index, member(1, 1), raw)
	}
	b.ReportMetric(float64(size), "op-bytes")
}

// BenchmarkDeath gives the 10,000 streams of a dead node to the others.
func BenchmarkDeath(b *testing.B) {
	g := fullRig(b, MaxStreams)
	for n := uint64(2); b.Loop(); n++ {
		ids := []int{2, 3}
		if n%2 == 1 {
			ids = []int{1, 4}
		}
		g.view(view(n, ids...), 0)
	}
}

// BenchmarkSnapshot writes 10,000 streams and 10,000 effects.
func BenchmarkSnapshot(b *testing.B) {
	g := fullRig(b, MaxStreams)
	b.SetBytes(int64(len(g.snapshot())))
	for b.Loop() {
		if err := g.r.Snapshot(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
