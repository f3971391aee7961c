package disk

import (
	"bytes"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"rain/ring"
)

// image is a data folder's files by name, without the lock.
type image map[string][]byte

func take(t testing.TB, dir string) image {
	t.Helper()
	m := image{}
	for _, pattern := range []string{"ring.db*", snapFolder + "/*"} {
		l, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(dir, p)
			m[name] = b
		}
	}
	return m
}

func (m image) put(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	m.write(t, dir)
	return dir
}

func (m image) write(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, snapFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range m {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A power cut while a transaction is written: of its pages some have reached the
// disk and some not, in any order; its meta page has only if all others have.
func TestCrashWithinApply(t *testing.T) {
	const page = 4096
	rng := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	d := open(t, dir)
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 40, 900)})
	for round := range 8 {
		old, before := take(t, dir), load(t, d)
		from := uint64(len(before.Entries)) - rng.Uint64N(20)
		apply(t, d, ring.Save{Stamp: stamp(2, uint64(round)), From: from, Entries: entries(from, from+rng.Uint64N(60), 900)})
		now, after := take(t, dir), load(t, d)
		a, b := old["ring.db"], now["ring.db"]
		a = append(a, make([]byte, len(b)-len(a))...)
		for range 12 {
			mixed := bytes.Clone(a)
			for at := 2 * page; at < len(b); at += page {
				if rng.IntN(2) == 0 {
					copy(mixed[at:at+page], b[at:at+page])
				}
			}
			crashed := open(t, image{"ring.db": mixed, snapFolder + "/x.tmp": []byte("x"), "ring.db.abc.new": nil}.put(t))
			equal(t, load(t, crashed), before)
			apply(t, crashed, ring.Save{Stamp: stamp(9, 9), From: 1}) // it can be written to
			crashed.Close()
		}
		equal(t, load(t, open(t, now.put(t))), after)
	}
}

// A crash between the steps of a compaction.
func TestCrashWithinCompact(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 9, 90)})
	if err := d.Compact(snapshot(t, d, "first"), header(4)); err != nil {
		t.Fatal(err)
	}
	old, before := take(t, dir), load(t, d)
	if err := d.Compact(snapshot(t, d, "second"), header(7)); err != nil {
		t.Fatal(err)
	}
	now, after := take(t, dir), load(t, d)
	for _, c := range []struct {
		db    image
		want  ring.Disk
		state string
	}{{old, before, "first"}, {now, after, "second"}} {
		m := image{"ring.db": c.db["ring.db"]}
		for _, i := range []image{old, now} {
			for name, b := range i {
				if name != "ring.db" {
					m[name] = b
				}
			}
		}
		crashed := open(t, m.put(t))
		equal(t, load(t, crashed), c.want)
		if text, _ := readSnapshot(t, crashed); text != c.state {
			t.Errorf("the snapshot is %q, want %q", text, c.state)
		}
	}
}

// Whatever byte rots: an error that says so, or the right data. Never a panic,
// never other data.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	apply(t, d, ring.Save{Promise: 5, Stamp: stamp(1, 1), From: 1, Entries: entries(1, 12, 300)})
	if err := d.Compact(snapshot(t, d, "the state of the riders"), header(4)); err != nil {
		t.Fatal(err)
	}
	apply(t, d, ring.Save{Promise: 6, Stamp: stamp(1, 2), From: 13, Entries: entries(13, 30, 300)})
	apply(t, d, ring.Save{Promise: 7, Stamp: stamp(1, 3), From: 25, Entries: entries(25, 60, 300)})
	want, good := load(t, d), take(t, dir)
	d.Close()

	rng := rand.New(rand.NewPCG(5, 6))
	found := 0
	for name, b := range good {
		tries := 300
		if name != "ring.db" || testing.Short() {
			tries = 80
		}
		for try := range tries {
			bad := bytes.Clone(b)
			switch {
			case try%10 == 0:
				bad = bad[:rng.IntN(len(bad))]
			case try%3 == 0: // the heads of pages: this is where structure is
				at := rng.IntN(len(bad)/4096+1)*4096 + rng.IntN(80)
				bad[at%len(bad)] ^= 1 << rng.IntN(8)
			default:
				bad[rng.IntN(len(bad))] ^= byte(1 + rng.IntN(255))
			}
			if tryDamaged(t, dir, good, name, bad, want) {
				found++
			}
		}
	}
	if found == 0 {
		t.Error("no damage was found at all")
	}
	good.write(t, dir)
	equal(t, load(t, open(t, dir)), want)
}

// tryDamaged opens the folder with one damaged file and reports whether the
// damage was found.
func tryDamaged(t *testing.T, dir string, good image, name string, bad []byte, want ring.Disk) bool {
	t.Helper()
	good.write(t, dir)
	image{name: bad}.write(t, dir)
	var corrupt *CorruptError
	d, err := Open(dir, me, quiet)
	if err == nil {
		defer d.Close()
		var got ring.Disk
		if got, _, err = d.Load(); err == nil {
			equal(t, got, want)
			if text, _ := readSnapshot(t, d); text != "the state of the riders" {
				t.Fatalf("the snapshot is %q", text)
			}
			return false
		}
	}
	if !errors.As(err, &corrupt) || corrupt.Dir != dir || corrupt.File != filepath.Join(dir, name) {
		t.Fatalf("%s: %v, want a CorruptError of it", name, err)
	}
	return true
}

// An older but flawless state of the pages must not pass for the newest one.
func TestOldPagesAreNotTaken(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for i := range uint64(6) {
		apply(t, d, ring.Save{Promise: ring.Epoch(i), Stamp: stamp(1, i), From: i + 1, Entries: entries(i+1, i+1, 2000)})
	}
	want, now := load(t, d), take(t, dir)["ring.db"]
	d.Close()
	for meta := range 2 { // one of the two meta pages is lost
		bad := bytes.Clone(now)
		clear(bad[meta*4096 : meta*4096+4096])
		if !tryDamaged(t, dir, image{"ring.db": now}, "ring.db", bad, want) {
			t.Errorf("the loss of meta page %d was not found", meta)
		}
	}
	first := order.Uint64(now[pageHeader+48:])
	second := order.Uint64(now[4096+pageHeader+48:])
	if first < second { // the older meta page in the place of both
		copy(now[4096:8192], now[:4096])
	} else {
		copy(now[:4096], now[4096:8192])
	}
	image{"ring.db": now}.write(t, dir)
	var corrupt *CorruptError
	if _, err := Open(dir, me, quiet); !errors.As(err, &corrupt) {
		t.Errorf("Open of a file with one old meta page = %v", err)
	}
}

func FuzzSnapshot(f *testing.F) {
	file := func(parts ...string) []byte {
		b := []byte(snapMagic)
		var crc uint32
		size := 0
		for _, p := range parts {
			b = append(b, byte(len(p)>>24), byte(len(p)>>16), byte(len(p)>>8), byte(len(p)))
			c := crc32.Checksum([]byte(p), castagnoli)
			b = append(b, byte(c>>24), byte(c>>16), byte(c>>8), byte(c))
			b = append(b, p...)
			crc = crc32.Update(crc, castagnoli, []byte(p))
			size += len(p)
		}
		return appendEnd(b, uint64(size), crc, ring.AppendHeader(nil, header(3)))
	}
	f.Add(file())
	f.Add(file("state"))
	f.Add(file("two", "chunks"))
	f.Add(file(string(make([]byte, chunkSize)), "rest"))
	f.Add([]byte(snapMagic))
	d := open(f, f.TempDir())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newSnapReader(bytes.NewReader(b))
		data, err := io.ReadAll(r)
		if err != nil {
			if !errors.Is(err, errSnapshot) {
				t.Fatalf("%v is no errSnapshot", err)
			}
			return
		}
		h, err := ring.ParseHeader(r.header)
		if err != nil {
			t.Fatal(err)
		}
		w := snapshot(t, d, string(data))
		hand, err := w.finish(h)
		if err != nil {
			t.Fatal(err)
		}
		path := d.snapPath(hand.ref.name)
		defer os.Remove(path)
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, writes it back as %x, %v", b, again, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	for _, r := range []record{{}, {node: me, floor: 5, last: 9, header: header(4), snap: snapRef{"4-x.snap", 3, 4}, stamp: stamp(1, 2)}} {
		f.Add(appendHead(&r, 12))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // let the fuzzer through the checksum
			order := sum(headKey, b[4:])
			b = append([]byte{byte(order >> 24), byte(order >> 16), byte(order >> 8), byte(order)}, b[4:]...)
		}
		r, txid, err := parseHead(b)
		if err != nil {
			return
		}
		if got := appendHead(&r, txid); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
		if again, _, err := parseHead(appendHead(&r, txid)); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

// A good file with bytes of the fuzzer's in some place, and meta pages whose
// checksums are right: the check must return, whatever it is given, and bbolt
// must read what it passes.
func FuzzCheckTree(f *testing.F) {
	dir := f.TempDir()
	d := open(f, dir)
	apply(f, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 30, 300)})
	apply(f, d, ring.Save{Stamp: stamp(1, 2), From: 31, Entries: entries(31, 32, 6000)})
	d.Close()
	good := take(f, dir)
	for _, at := range []uint16{16, 24, 32, 48, 64, 4096 + 32, 2 * 4096, 3 * 4096, 4*4096 + 8, 5*4096 + 16} {
		f.Add(at, []byte{1, 0, 0, 0, 2})
	}
	f.Fuzz(func(t *testing.T, at uint16, with []byte) {
		b := bytes.Clone(good["ring.db"])
		copy(b[int(at)%len(b):], with)
		for _, meta := range [][]byte{b[pageHeader:], b[4096+pageHeader:]} {
			h := fnv.New64a()
			h.Write(meta[:56])
			order.PutUint64(meta[56:], h.Sum64())
		}
		if checkTree(bytes.NewReader(b), int64(len(b))) != nil {
			return
		}
		image{"ring.db": b}.write(t, dir)
		if d, err := Open(dir, me, quiet); err == nil {
			_, _, _ = d.Load()
			d.Close()
		}
	})
}
