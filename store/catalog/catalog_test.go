package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"go/build"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"rain/ring"
)

func TestCoreImportsNothingImpure(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net", "os", "time", "log/slog", "crypto/rand", "math/rand/v2", "math/rand"} {
		if slices.Contains(pkg.Imports, bad) {
			t.Errorf("the core imports %q and can no longer run in the simulator", bad)
		}
	}
}

func sumFor(i int) (s Sum) { s[0], s[31] = byte(i), byte(i>>8); return s }

func rec(i int) Record {
	return Record{Sum: sumFor(i), Size: int64(10 * i), Modified: 1700000000, N: 4, K: 1, Type: "text/plain", Meta: map[string]string{"b": "2", "a": "1"}}
}

func put(t testing.TB, tab *Table, index uint64, bucket, key string, c Cond, r Record) Result {
	t.Helper()
	op, err := EncodePut(bucket, key, c, r)
	if err != nil {
		t.Fatal(err)
	}
	return apply(t, tab, index, op)
}

func apply(t testing.TB, tab *Table, index uint64, op []byte) Result {
	t.Helper()
	res, err := ParseResult(tab.Apply(index, ring.Member{ID: 1, Inc: 1}, op))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func bucketOp(t testing.TB, name string) []byte {
	t.Helper()
	op, err := EncodeBucket(name, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestOutcomes(t *testing.T) {
	var changes []Change
	tab := New(func(c Change) { changes = append(changes, c) })
	del := func(key string, c Cond) []byte {
		op, err := EncodeDelete("bucket", key, c)
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	want := func(what string, got Result, outcome Outcome, version uint64) Result {
		t.Helper()
		if got.Outcome != outcome || got.Version != version {
			t.Errorf("%s: outcome %d, version %d; want %d, %d", what, got.Outcome, got.Version, outcome, version)
		}
		return got
	}
	want("put without bucket", put(t, tab, 1, "bucket", "k", Cond{}, rec(1)), NoBucket, 0)
	want("bucket", apply(t, tab, 2, bucketOp(t, "bucket")), Created, 0)
	want("bucket again", apply(t, tab, 3, bucketOp(t, "bucket")), Exists, 0)
	want("if-match of nothing", put(t, tab, 4, "bucket", "k", Cond{IfMatch: "*"}, rec(1)), CondFailed, 0)
	first := want("put", put(t, tab, 5, "bucket", "k", Cond{IfAbsent: true}, rec(1)), Created, 5)
	want("if absent", put(t, tab, 6, "bucket", "k", Cond{IfAbsent: true}, rec(2)), CondFailed, 5)
	want("other tag", put(t, tab, 7, "bucket", "k", Cond{IfMatch: `"x"`}, rec(2)), CondFailed, 5)
	want("other size of one hash", put(t, tab, 8, "bucket", "k2", Cond{}, Record{Sum: sumFor(1), Size: 3}), Malformed, 0)
	second := want("right tag", put(t, tab, 9, "bucket", "k", Cond{IfMatch: first.ETag}, rec(2)), Replaced, 9)
	same := want("same content", put(t, tab, 10, "bucket", "k", Cond{IfMatch: "*"}, rec(2)), Replaced, 10)
	if second.ETag == first.ETag || second.ETag != same.ETag || len(same.ETag) != 34 {
		t.Errorf("tags %s %s %s", first.ETag, second.ETag, same.ETag)
	}
	other := rec(2)
	other.Type = "text/html"
	if got := put(t, tab, 11, "bucket", "h", Cond{}, other); got.ETag == same.ETag {
		t.Error("another type has the same tag")
	}
	want("delete, other tag", apply(t, tab, 12, del("k", Cond{IfMatch: first.ETag})), CondFailed, 10)
	want("delete", apply(t, tab, 13, del("k", Cond{IfMatch: same.ETag})), Deleted, 10)
	want("delete again", apply(t, tab, 14, del("k", Cond{})), NoObject, 0)
	want("delete other", apply(t, tab, 15, del("h", Cond{})), Deleted, 11)
	want("garbage", apply(t, tab, 16, []byte("garbage")), Malformed, 0)
	var told strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&told, "%d %d %v, ", c.Rec.Sum[0], c.Rec.Size, c.Needed)
	}
	if want := "1 10 true, 2 20 true, 1 10 false, 2 20 false, "; told.String() != want {
		t.Errorf("changes %s, want %s", told.String(), want)
	}
	if v := tab.Now(); v.Objects() != 0 || v.Size() != 0 || v.StoredBytes() != 0 {
		t.Errorf("an empty table counts %d objects, %d, %d bytes", v.Objects(), v.Size(), v.StoredBytes())
	}
}

func TestLimits(t *testing.T) {
	for name, ok := range map[string]bool{
		"abc": true, "a.b-c9": true, ".sites": true, strings.Repeat("a", 63): true,
		"ab": false, strings.Repeat("a", 64): false, "Abc": false, "-ab": false, "..a": false, "a_b": false, "a/b": false, "": false,
	} {
		if got := CheckBucket(name) == nil; got != ok {
			t.Errorf("bucket %q: allowed %v, want %v", name, got, ok)
		}
	}
	for key, ok := range map[string]bool{
		"a": true, "a/b c/é": true, strings.Repeat("k", 1024): true,
		"": false, strings.Repeat("k", 1025): false, "a\x00": false, "\xff": false,
	} {
		if got := CheckKey(key) == nil; got != ok {
			t.Errorf("key %.20q: allowed %v, want %v", key, got, ok)
		}
	}
	many := rec(1)
	many.Meta = map[string]string{}
	for i := range MaxMeta + 1 {
		many.Meta[fmt.Sprint(i)] = ""
	}
	long := rec(1)
	long.Meta = map[string]string{"a": strings.Repeat("x", MaxMetaBytes)}
	twice, few := mixed(4), mixed(4)
	twice.Nodes = []ring.NodeID{1, 2, 3, 1}
	few.Nodes = few.Nodes[:3]
	for _, r := range []Record{many, long, twice, few, {Size: -1}, {Type: strings.Repeat("t", 256)}} {
		if _, err := EncodePut("bucket", "k", Cond{}, r); err == nil {
			t.Errorf("a record beyond the limits was taken: %+v", r)
		}
	}
	tab := New(nil)
	for i := range MaxBuckets {
		apply(t, tab, uint64(i), bucketOp(t, fmt.Sprintf("bucket%d", i)))
	}
	if got := apply(t, tab, 9, bucketOp(t, "onemore")); got.Outcome != TooMany {
		t.Errorf("bucket beyond the limit: %+v", got)
	}
}

// TestAgainstMap compares the table with a plain map, and holds old views to
// what they showed.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := New(nil)
		apply(t, tab, 0, bucketOp(t, "bucket"))
		model := map[string]*Record{}
		type frozen struct {
			v    *View
			want string
		}
		var old []frozen
		needed := map[Sum]bool{}
		tab.notify = func(c Change) {
			if c.Needed == needed[c.Rec.Body] {
				rt.Fatalf("change %+v tells nothing new", c)
			}
			needed[c.Rec.Body] = c.Needed
		}
		for i := range rapid.IntRange(1, 300).Draw(rt, "ops") {
			key := fmt.Sprintf("k%03d", rapid.IntRange(0, 150).Draw(rt, "key"))
			if rapid.IntRange(0, 2).Draw(rt, "delete") == 0 {
				op, _ := EncodeDelete("bucket", key, Cond{})
				if got := apply(t, tab, uint64(i+1), op); (got.Outcome == Deleted) != (model[key] != nil) {
					rt.Fatalf("delete %s: %+v", key, got)
				}
				delete(model, key)
			} else {
				r := mixed(rapid.IntRange(0, 20).Draw(rt, "body"))
				if got := put(t, tab, uint64(i+1), "bucket", key, Cond{}, r); (got.Outcome == Replaced) != (model[key] != nil) {
					rt.Fatalf("put %s: %+v", key, got)
				}
				r.Version = uint64(i + 1)
				model[key] = r.Derive()
			}
			if i%50 == 0 {
				old = append(old, frozen{tab.Now(), dump(tab.Now())})
			}
		}
		var want strings.Builder
		bodies := map[Sum]int{}
		for _, k := range slices.Sorted(maps.Keys(model)) {
			fmt.Fprintf(&want, "%s=%d ", k, model[k].Version)
			bodies[model[k].Body]++
			if !needed[model[k].Body] {
				rt.Fatalf("the body of %s is not needed", k)
			}
		}
		if got := dump(tab.Now()); got != want.String() || tab.Now().Objects() != len(model) {
			rt.Fatalf("table %s\nmodel %s", got, want.String())
		}
		tab.Now().Bodies(nil, func(s Sum, b Body) bool {
			if bodies[s] != b.Refs {
				rt.Fatalf("body %s has %d refs, want %d", s, b.Refs, bodies[s])
			}
			delete(bodies, s)
			return true
		})
		if len(bodies) != 0 {
			rt.Fatalf("%d bodies are not listed", len(bodies))
		}
		checkSpreads(rt, tab.Now(), model)
		for _, f := range old {
			if got := dump(f.v); got != f.want {
				rt.Fatalf("an old view changed from %s to %s", f.want, got)
			}
		}
		checkRoundTrip(rt, tab)
	})
}

// mixed gives equal bodies whole and striped in several ways.
func mixed(i int) Record {
	r := rec(i/5 + 1)
	if i%5 > 0 {
		r.N, r.K, r.Unit = uint16(i%5), uint16(i%5+1)/2, 64
		r.Nodes = []ring.NodeID{7, 3, 9, 1}[:i%5]
	}
	if i%5 == 4 && i%2 == 0 {
		r.Nodes = []ring.NodeID{1, 3, 7, 9} // the same spread, another order
	}
	return r
}

func checkSpreads(t fataler, v *View, model map[string]*Record) {
	want, seen, wholes := map[string]int{}, map[Sum]bool{}, 0
	for _, r := range model {
		if seen[r.Body] {
			continue
		}
		seen[r.Body] = true
		if !r.Striped() {
			wholes++
			continue
		}
		want[fmt.Sprint(slices.Sorted(slices.Values(r.Nodes)), r.K)]++
	}
	v.Spreads(func(s Spread) bool {
		key := fmt.Sprint(s.Nodes, s.K)
		if want[key] != s.Bodies {
			t.Fatalf("%d bodies on %s, want %d", s.Bodies, key, want[key])
		}
		delete(want, key)
		return true
	})
	if len(want) != 0 || v.Wholes() != wholes {
		t.Fatalf("spreads without %v; %d wholes, want %d", want, v.Wholes(), wholes)
	}
}

func dump(v *View) string {
	var b strings.Builder
	v.List("bucket", "", "", func(k string, r *Record) bool {
		fmt.Fprintf(&b, "%s=%d ", k, r.Version)
		return true
	})
	return b.String()
}

type fataler interface{ Fatalf(string, ...any) }

// checkRoundTrip restores a snapshot over other state and compares.
func checkRoundTrip(t fataler, tab *Table) {
	var a, b bytes.Buffer
	if err := tab.Snapshot(&a); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	resets := 0
	fresh := New(func(c Change) {
		if c.Reset {
			resets++
		}
	})
	fresh.makeBucket("old-bucket", 0, 0, 0)
	if err := fresh.Restore(bytes.NewReader(a.Bytes())); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if err := fresh.Snapshot(&b); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Fatalf("snapshots differ: %d and %d bytes, %v", a.Len(), b.Len(), err)
	}
	v, w := tab.Now(), fresh.Now()
	if v.Objects() != w.Objects() || v.Size() != w.Size() || v.StoredBytes() != w.StoredBytes() || resets != 1 {
		t.Fatalf("after restore: %d objects, %d, %d bytes, %d resets; want %d, %d, %d, 1",
			w.Objects(), w.Size(), w.StoredBytes(), resets, v.Objects(), v.Size(), v.StoredBytes())
	}
}

func sample(t testing.TB) *Table {
	tab := New(nil)
	for i, b := range []string{"aaa", ".sites", "bbb"} {
		apply(t, tab, uint64(i), bucketOp(t, b))
		for j := range 5 * i {
			put(t, tab, uint64(100*i+j), b, fmt.Sprintf("k%d", j), Cond{}, mixed(j))
		}
	}
	addCare(t, tab)
	return tab
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	tab := sample(t)
	var buf bytes.Buffer
	if err := tab.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		into := sample(t)
		before := into.Now()
		if err := into.Restore(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a flipped bit in byte %d was not found", i)
		}
		if into.Now() != before {
			t.Fatalf("byte %d: a failed restore changed the table", i)
		}
		if err := into.Restore(bytes.NewReader(good[:i])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", i, err)
		}
	}
	if err := sample(t).Restore(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrMalformed) {
		t.Errorf("bytes after the end: %v", err)
	}
	if err := tab.Snapshot(&failingWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("write error: %v", err)
	}
}

type failingWriter struct{}

func (*failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestReadersNeedNoLock(t *testing.T) {
	tab := New(nil)
	apply(t, tab, 0, bucketOp(t, "bucket"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := tab.Now()
				n, size := 0, int64(0)
				v.List("bucket", "", "", func(_ string, r *Record) bool { n++; size += r.Size; return true })
				if n != v.Objects() || size != v.Size() {
					t.Errorf("a view with %d objects, %d bytes counts %d, %d", n, size, v.Objects(), v.Size())
					return
				}
			}
		})
	}
	for i := range 3000 {
		put(t, tab, uint64(i+1), "bucket", fmt.Sprint(i*7919%500), Cond{}, rec(i%40))
	}
	close(stop)
	wg.Wait()
}
