package array

import (
	"bytes"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestEveryLoss tries every pattern of losses of every code up to n = 6.
func TestEveryLoss(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for n := 1; n <= 6; n++ {
		for k := 1; k <= n; k++ {
			for _, length := range []int{1, 63, 1000} {
				code, err := New(n, k)
				if err != nil {
					t.Fatal(err)
				}
				whole := make([][]byte, n)
				for i := range whole {
					whole[i] = make([]byte, length)
					if i < k {
						_, _ = r.Read(whole[i])
					}
				}
				if err := code.Encode(whole); err != nil {
					t.Fatal(err)
				}
				for lost := range 1 << n {
					for wanted := range 1 << n {
						checkLoss(t, code, whole, k, uint(lost), uint(wanted))
					}
				}
			}
		}
	}
}

func checkLoss(t *testing.T, code Code, whole [][]byte, k int, lost, wanted uint) {
	t.Helper()
	n := len(whole)
	units, want := make([][]byte, n), make([]bool, n)
	for i := range whole {
		if lost>>i&1 == 0 {
			units[i] = bytes.Clone(whole[i])
		}
		want[i] = wanted>>i&1 == 1
	}
	err := code.Rebuild(units, want)
	if lost&wanted == 0 {
		if err != nil {
			t.Fatalf("(%d,%d), lost %b, wanted %b: %v", n, k, lost, wanted, err)
		}
		return
	}
	if n-bits.OnesCount(lost) < k {
		if !errors.Is(err, ErrTooFew) {
			t.Fatalf("(%d,%d), lost %b, wanted %b: %v", n, k, lost, wanted, err)
		}
		return
	}
	for i := range units {
		if want[i] && !bytes.Equal(units[i], whole[i]) || err != nil {
			t.Fatalf("(%d,%d), lost %b, wanted %b: unit %d differs, %v", n, k, lost, wanted, i, err)
		}
	}
}

func TestAuto(t *testing.T) {
	want := [][2]int{{1, 1}, {1, 1}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {6, 4}, {6, 4}, {6, 4}}
	for nodes, w := range want {
		if g := Auto(nodes); g.N != w[0] || g.K != w[1] || g.Check() != nil {
			t.Errorf("%d nodes: (%d,%d), %v", nodes, g.N, g.K, g.Check())
		}
	}
	for _, g := range []Geometry{{}, {1, 2, 1}, {33, 2, 1}, {2, 1, 0}, {2, 1, MaxUnit + 1}, {2, 0, 1}} {
		if g.Check() == nil {
			t.Errorf("%+v is allowed", g)
		}
	}
}

// TestLayoutCoversTheObject: blocks, windows and parts tile the object, and
// units hold their blocks.
func TestLayoutCoversTheObject(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := rapid.IntRange(1, 8).Draw(rt, "k")
		l := Layout{Geometry{k + 2, k, rapid.SampledFrom([]int{1, 7, 4096, DefaultUnit, MaxUnit}).Draw(rt, "unit")}, 0}
		l.Size = rapid.Int64Range(1, 3000*l.Block()).Draw(rt, "size")
		if l.Block() > 1<<20 {
			l.Size = l.Size%(200*l.Block()) + 1
		}
		var total, next int64
		for p := range l.Parts() {
			first, end := l.Part(p)
			if first != next || end <= first || (end-first)*l.Block() > max(partSize, l.Block()) {
				rt.Fatalf("part %d is [%d,%d), expected from %d", p, first, end, next)
			}
			next = end
		}
		if next != l.Blocks() {
			rt.Fatalf("parts end at block %d of %d", next, l.Blocks())
		}
		next = 0
		for w := range l.Windows() {
			first, end := l.Window(w)
			if first != next || end <= first || first/l.PartBlocks() != (end-1)/l.PartBlocks() {
				rt.Fatalf("window %d is [%d,%d), expected from %d", w, first, end, next)
			}
			next = end
		}
		for b := range l.Blocks() {
			n := l.BlockLen(b)
			if u := l.UnitLen(b); n < 1 || u > l.Unit || u*k < n || (u-1)*k >= n {
				rt.Fatalf("block %d of %d bytes has units of %d", b, n, u)
			}
			total += int64(n)
		}
		if next != l.Blocks() || total != l.Size {
			rt.Fatalf("windows end at %d of %d blocks, blocks hold %d of %d bytes", next, l.Blocks(), total, l.Size)
		}
	})
}

func TestPlace(t *testing.T) {
	nodes := []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}
	count := map[uint32]int{}
	for i := range 3000 {
		seed := [32]byte{byte(i), byte(i >> 8)}
		a := Place(seed, nodes, 6)
		shuffled := slices.Clone(nodes)
		slices.Reverse(shuffled)
		if b := Place(seed, shuffled, 6); !slices.Equal(a, b) || len(a) != 6 {
			t.Fatalf("order matters: %v, %v", a, b)
		}
		// Who is not chosen may go without moving anything.
		gone := slices.DeleteFunc(slices.Clone(nodes), func(id uint32) bool { return id != a[0] && !slices.Contains(a, id) })
		if b := Place(seed, gone, 6); !slices.Equal(a, b) {
			t.Fatalf("a node that was not chosen moved columns: %v, %v", a, b)
		}
		for _, id := range a {
			count[id]++
		}
	}
	for id, n := range count {
		if n < 1700 || n > 2300 {
			t.Errorf("node %d has %d of 18000 columns", id, n)
		}
	}
	if got := Place([32]byte{}, nodes[:2], 6); len(got) != 2 {
		t.Errorf("two nodes give %v", got)
	}
}

func BenchmarkEncode4x2(b *testing.B) { benchEncode(b, 4, 2) }
func BenchmarkEncode6x4(b *testing.B) { benchEncode(b, 6, 4) }

func benchEncode(b *testing.B, n, k int) {
	code, err := New(n, k)
	if err != nil {
		b.Fatal(err)
	}
	units := make([][]byte, n)
	for i := range units {
		units[i] = make([]byte, DefaultUnit)
	}
	b.SetBytes(int64(k * DefaultUnit))
	for b.Loop() {
		if err := code.Encode(units); err != nil {
			b.Fatal(err)
		}
	}
}
