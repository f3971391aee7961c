package catalog

import (
	"bytes"
	"testing"

	"rain/ring"
)

func FuzzApply(f *testing.F) {
	put, _ := EncodePut("bbb", "k1", Cond{IfMatch: "*", IfAbsent: true}, rec(3))
	del, _ := EncodeDelete("bbb", "k1", Cond{IfMatch: `"x"`})
	mk, _ := EncodeBucket("ccc", 6, 4, 0)
	stripe, _ := EncodePut("bbb", "k1", Cond{}, mixed(9))
	safe, _ := EncodeBucket("ddd", 6, 4, 2)
	layout, _ := EncodeLayout(0, Layout{Nodes: []ring.NodeID{1, 2}, Heirs: []Heir{{3, 1}}})
	r := mixed(3)
	move, _ := EncodeMove(r.Derive().Body, 1, 3, 20)
	for _, b := range [][]byte{put, del, mk, stripe, safe, layout, move, {}, {1}, {1, 2, 3}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := parseOp(b); err == nil {
			if got := o.append(nil); !bytes.Equal(got, b) {
				t.Fatalf("accepted %x, writes it back as %x", b, got)
			}
		}
		tab := sample(t)
		apply(t, tab, 99, b)
		checkRoundTrip(t, tab)
	})
}

func FuzzResult(f *testing.F) {
	f.Add(Result{Created, 7, `"abc"`}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseResult(b); err == nil && !bytes.Equal(r.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, r.append(nil))
		}
	})
}

func FuzzRestore(f *testing.F) {
	var buf bytes.Buffer
	if err := sample(f).Snapshot(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(snapMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab := New(nil)
		if err := tab.Restore(bytes.NewReader(b)); err != nil {
			return
		}
		var out bytes.Buffer
		if err := tab.Snapshot(&out); err != nil || !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("accepted %d bytes, writes back %d, %v", len(b), out.Len(), err)
		}
	})
}
