package queue

import (
	"bytes"
	"testing"

	"rain/ring"
)

func someOps() []Op {
	batch := begins(3, 7)
	batch.Offsets, batch.Ends = []Progress{{3, 1 << 40}, {200, 0}}, []uint64{1, 9}
	id := EntryID{member(1, 1), 3}
	end := finish(id, "x")
	end.Body = Sum{1}
	return []Op{
		batch, {Kind: OpBatch},
		{Kind: OpBegin, N: 3, Request: request("/g"), Effect: post("k", 7)},
		{Kind: OpBegin, N: 1 << 60, Effect: EffectPart{Body: Sum{3}}},
		end, {Kind: OpFinish, ID: id},
		{Kind: OpAbandon, ID: id}, {Kind: OpSettle, IDs: []EntryID{id, id}}, {Kind: OpTick, Seq: 1, ElapsedMS: 5},
	}
}

func FuzzParseOp(f *testing.F) {
	for _, op := range someOps() {
		b, err := op.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := ParseOp(b)
		if err != nil {
			return
		}
		if got := op.append(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
		g := newRig(t)
		g.view(view(1, 1, 2), 0)
		g.want(member(1, 1), begins(3, 4), OK)
		if _, err := ParseVerdict(g.r.Apply(9, member(1, 1), b)); err != nil {
			t.Fatal(err)
		}
		restore(t, g.r, newRig(t).r)
	})
}

func FuzzParseVerdict(f *testing.F) {
	f.Add(Verdict{Kind: OK}.append(nil))
	f.Add(Verdict{Kind: Ended, ID: EntryID{member(1, 1), 3}, Owner: member(2, 1), Outcome: &Outcome{Index: 3, Answer: []byte("x"), Body: Sum{1}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseVerdict(b)
		if err != nil {
			return
		}
		if got := v.append(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}

func FuzzRestore(f *testing.F) {
	g := newRig(f)
	f.Add(g.snapshot())
	g.view(view(1, 1, 2), 0)
	for _, op := range someOps() {
		g.do(member(1, 1), op)
	}
	f.Add(g.snapshot())
	g.view(view(2, 2), 0)
	g.do(member(2, 1), Op{Kind: OpSettle, IDs: []EntryID{{member(1, 1), 7}}})
	f.Add(g.snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRider(nil)
		if r.Restore(bytes.NewReader(b)) != nil {
			return
		}
		if got := dump(t, r); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
		r.View(1, ring.View{Number: 1, Members: view(1, 5).Members}, 0)
		if n := len(r.Table().Claims(member(5, 1))); n != r.Table().Length() {
			t.Fatalf("%d claims of %d", n, r.Table().Length())
		}
	})
}
