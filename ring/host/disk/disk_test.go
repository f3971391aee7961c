package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"rain/ring"
)

const me ring.NodeID = 0x00010001

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, dir string) *Disk {
	t.Helper()
	d, err := Open(dir, me, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func load(t testing.TB, d *Disk) ring.Disk {
	t.Helper()
	r, _, err := d.Load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func entry(n uint64, size int) ring.Entry {
	return ring.Entry{From: ring.Member{ID: me, Inc: 7}, N: n, Rider: ring.RiderCatalog, Data: bytes.Repeat([]byte{byte(n)}, size)}
}

func entries(from, to uint64, size int) (l []ring.Entry) {
	for i := from; i <= to; i++ {
		l = append(l, entry(i, size))
	}
	return l
}

func stamp(epoch uint32, seq uint64) ring.Stamp {
	return ring.Stamp{Epoch: ring.MakeEpoch(1, epoch), Seq: seq}
}

func header(index uint64) ring.SnapshotHeader {
	return ring.SnapshotHeader{Stamp: stamp(1, index), Index: index, Stable: index - 1, Views: []ring.IndexedView{
		{Index: 1, View: ring.View{Number: 1, Members: []ring.ViewMember{{Member: ring.Member{ID: me, Inc: 7}, Since: 1}}}},
	}}
}

func apply(t testing.TB, d *Disk, saves ...ring.Save) {
	t.Helper()
	if err := d.Apply(saves); err != nil {
		t.Fatal(err)
	}
}

func snapshot(t testing.TB, d *Disk, text string) *SnapshotWriter {
	t.Helper()
	w, err := d.NewSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	return w
}

func readSnapshot(t testing.TB, d *Disk) (string, ring.SnapshotHeader) {
	t.Helper()
	r, h, err := d.SnapshotReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), h
}

func equal(t testing.TB, got, want ring.Disk) {
	t.Helper()
	if len(got.Entries) == 0 && len(want.Entries) == 0 {
		got.Entries, want.Entries = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the disk holds %+v\nwant %+v", got, want)
	}
}

func TestEmpty(t *testing.T) {
	d := open(t, t.TempDir())
	equal(t, load(t, d), ring.Disk{})
	if _, _, err := d.SnapshotReader(); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("SnapshotReader of an empty disk: %v", err)
	}
	if n, err := d.FreeBytes(); err != nil || n == 0 {
		t.Errorf("FreeBytes = %d, %v", n, err)
	}
}

func TestSaves(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for _, step := range []struct {
		name  string
		saves []ring.Save
		want  ring.Disk
	}{
		{"found", []ring.Save{{Replace: true, Stamp: stamp(1, 1), From: 1, Entries: entries(1, 3, 10)}},
			ring.Disk{Stamp: stamp(1, 1), Entries: entries(1, 3, 10)}},
		{"promise alone", []ring.Save{{PromiseOnly: true, Promise: 9, Stamp: stamp(8, 8), From: 1, Stable: 5}},
			ring.Disk{Promise: 9, Stamp: stamp(1, 1), Entries: entries(1, 3, 10)}},
		{"append, in a group", []ring.Save{
			{Promise: 9, Stamp: stamp(1, 2), From: 4, Entries: entries(4, 5, 9)},
			{Promise: 9, Stamp: stamp(1, 3), Stable: 4, From: 6, Entries: entries(6, 6, 8)},
		}, ring.Disk{Promise: 9, Stamp: stamp(1, 3), Stable: 4, Entries: append(append(entries(1, 3, 10), entries(4, 5, 9)...), entry(6, 8))}},
		{"cut and append", []ring.Save{{Promise: 9, Stamp: stamp(2, 1), Stable: 3, From: 4, Entries: entries(4, 4, 100)}},
			ring.Disk{Promise: 9, Stamp: stamp(2, 1), Stable: 3, Entries: append(entries(1, 3, 10), entry(4, 100))}},
		{"cut what the same group wrote", []ring.Save{
			{Promise: 9, Stamp: stamp(2, 2), From: 5, Entries: entries(5, 8, 3)},
			{Promise: 9, Stamp: stamp(3, 1), From: 6, Entries: entries(6, 6, 4)},
			{Promise: 10, Stamp: stamp(3, 2), Stable: 5, From: 7},
		}, ring.Disk{Promise: 10, Stamp: stamp(3, 2), Stable: 5,
			Entries: append(append(entries(1, 3, 10), entry(4, 100)), entry(5, 3), entry(6, 4))}},
		{"cut alone", []ring.Save{{Promise: 10, Stamp: stamp(3, 3), Stable: 3, From: 4}},
			ring.Disk{Promise: 10, Stamp: stamp(3, 3), Stable: 3, Entries: entries(1, 3, 10)}},
		{"stamp alone, the promise stays", []ring.Save{{Promise: 0, Stamp: stamp(3, 4), Stable: 3}},
			ring.Disk{Promise: 10, Stamp: stamp(3, 4), Stable: 3, Entries: entries(1, 3, 10)}},
		{"an older promise", []ring.Save{{PromiseOnly: true, Promise: 4}},
			ring.Disk{Promise: 10, Stamp: stamp(3, 4), Stable: 3, Entries: entries(1, 3, 10)}},
		{"replace without a snapshot", []ring.Save{{Replace: true, Promise: 11, Stamp: stamp(4, 1), From: 1, Entries: entries(1, 1, 1)}},
			ring.Disk{Promise: 11, Stamp: stamp(4, 1), Entries: entries(1, 1, 1)}},
	} {
		apply(t, d, step.saves...)
		equal(t, load(t, d), step.want)
		d.Close()
		d = open(t, dir)
		equal(t, load(t, d), step.want)
		if t.Failed() {
			t.Fatal("at", step.name)
		}
	}
}

func TestSavesThatDoNotFit(t *testing.T) {
	d := open(t, t.TempDir())
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 2, 5)})
	before := load(t, d)
	h := header(9)
	for name, s := range map[string]ring.Save{
		"gap":                {Stamp: stamp(2, 1), From: 4, Entries: entries(4, 4, 1)},
		"index 0":            {Stamp: stamp(2, 1), Entries: entries(1, 1, 1)},
		"no such snapshot":   {Stamp: stamp(2, 1), Replace: true, Header: &h, From: 10},
		"too long":           {Stamp: stamp(2, 1), From: 3, Entries: entries(3, 3, ring.MaxOp+1)},
		"off above snapshot": {Stamp: stamp(2, 1), Replace: true, From: 2, Entries: entries(2, 2, 1)},
	} {
		err := d.Apply([]ring.Save{{PromiseOnly: true, Promise: 99}, s})
		if !errors.Is(err, ErrSave) {
			t.Errorf("%s: %v, want ErrSave", name, err)
		}
		equal(t, load(t, d), before)
	}
}

func TestReplaceAdoptsTheFetchedSnapshot(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 4, 5)})
	for _, index := range []uint64{7, 8, 9} {
		if err := snapshot(t, d, fmt.Sprint("riders at ", index)).Commit(header(index)); err != nil {
			t.Fatal(err)
		}
	}
	r, h, err := d.FetchedReader()
	if err != nil || h.Index != 9 {
		t.Fatalf("FetchedReader: index %d, %v", h.Index, err)
	}
	r.Close()
	want := header(8)
	apply(t, d, ring.Save{Replace: true, Stamp: stamp(2, 5), Stable: 8, Header: &want, From: 9, Entries: entries(9, 10, 5)})
	for range 2 {
		equal(t, load(t, d), ring.Disk{Stamp: stamp(2, 5), Stable: 8, Header: want, Entries: entries(9, 10, 5)})
		if text, h := readSnapshot(t, d); text != "riders at 8" || !reflect.DeepEqual(h, want) {
			t.Fatalf("the snapshot is %q, %+v", text, h)
		}
		// the older one is gone, the newer one still at hand, until Open
		if l, _ := os.ReadDir(filepath.Join(dir, snapFolder)); len(l) == 0 || len(l) > 2 {
			t.Fatalf("%d snapshot files", len(l))
		}
		d.Close()
		d = open(t, dir)
	}
	if l, _ := os.ReadDir(filepath.Join(dir, snapFolder)); len(l) != 1 {
		t.Fatalf("%d snapshot files after Open, want that of the record", len(l))
	}
	// a save that was made before the snapshot was known to be under the log
	apply(t, d, ring.Save{Stamp: stamp(2, 6), Stable: 8, From: 8, Entries: entries(8, 9, 6)})
	equal(t, load(t, d), ring.Disk{Stamp: stamp(2, 6), Stable: 8, Header: want, Entries: entries(9, 9, 6)})
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	apply(t, d, ring.Save{Promise: 3, Stamp: stamp(1, 1), Stable: 6, From: 1, Entries: entries(1, 8, 50)})
	bytesBefore := d.LogBytes()
	for _, index := range []uint64{3, 6, 6, 8} {
		text := strings.Repeat(fmt.Sprint("state at ", index, "; "), 9000) // several chunks
		if err := d.Compact(snapshot(t, d, text), header(index)); err != nil {
			t.Fatal(err)
		}
		want := ring.Disk{Promise: 3, Stamp: stamp(1, 1), Stable: 6, Header: header(index), Entries: entries(index+1, 8, 50)}
		equal(t, load(t, d), want)
		d.Close()
		d = open(t, dir)
		equal(t, load(t, d), want)
		if got, _ := readSnapshot(t, d); got != text {
			t.Fatal("the snapshot reads other bytes than were written")
		}
		if d.LogLen() != int(8-index) || d.LogBytes() != bytesBefore/8*int64(8-index) {
			t.Fatalf("LogLen %d, LogBytes %d of %d", d.LogLen(), d.LogBytes(), bytesBefore)
		}
		if l, _ := os.ReadDir(filepath.Join(dir, snapFolder)); len(l) != 1 {
			t.Fatalf("%d snapshot files", len(l))
		}
	}
	for _, index := range []uint64{7, 9} { // below the base, above the log
		if err := d.Compact(snapshot(t, d, "x"), header(index)); !errors.Is(err, ErrSave) {
			t.Errorf("Compact at %d: %v, want ErrSave", index, err)
		}
	}
	if l, _ := os.ReadDir(filepath.Join(dir, snapFolder)); len(l) != 1 {
		t.Fatalf("%d snapshot files after refused compactions", len(l))
	}
}

func TestIncarnationsRise(t *testing.T) {
	dir := t.TempDir()
	var last ring.Incarnation
	for i, wall := range []uint64{0, 1_800_000_000_000_000, 5, 1_800_000_000_000_001, 0} {
		d := open(t, dir)
		inc, err := d.NextIncarnation(wall)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && inc < last+incarnationStep || uint64(inc) < wall || inc == 0 {
			t.Fatalf("start %d at %d: incarnation %d after %d", i, wall, inc, last)
		}
		last = inc
		if i == 3 {
			last += 1 << 30
			if err := d.Reserve(uint64(last + incarnationStep)); err != nil {
				t.Fatal(err)
			}
			if err := d.Reserve(1); err != nil {
				t.Fatal(err)
			}
		}
		_, floor, err := d.Load()
		if err != nil || floor < uint64(last) {
			t.Fatalf("floor %d, %v after incarnation %d", floor, err, last)
		}
		d.Close()
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := Open(dir, me, quiet)
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.Dir != dir || inUse.PID != os.Getpid() {
		t.Fatalf("a second Open: %v", err)
	}
	d.Close()
	open(t, dir)
}

func TestOtherNode(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	_, err := Open(dir, me+1, quiet)
	var other *OtherNodeError
	if !errors.As(err, &other) || other.Owner != me || other.Me != me+1 {
		t.Fatalf("Open by another node: %v", err)
	}
	open(t, dir) // and its owner can still have it
}

func TestClosed(t *testing.T) {
	d := open(t, t.TempDir())
	d.Close()
	_, _, err := d.Load()
	if !errors.Is(err, ErrClosed) || !errors.Is(d.Apply(nil), ErrClosed) || !errors.Is(d.Reserve(9), ErrClosed) {
		t.Errorf("use after Close: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestFailedWriteLeavesTheOldRecord(t *testing.T) {
	d := open(t, t.TempDir())
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 3, 100)})
	before := load(t, d)
	d.db.MaxSize = 1
	big := ring.Save{Stamp: stamp(1, 2), From: 4, Entries: entries(4, 40, 60_000)}
	if err := d.Apply([]ring.Save{big}); !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		t.Fatalf("Apply = %v, want that there is no room", err)
	}
	equal(t, load(t, d), before)
	apply(t, d, big)
	equal(t, load(t, d), ring.Disk{Stamp: stamp(1, 2), Entries: append(entries(1, 3, 100), big.Entries...)})
}

// The sync of the meta page failed: the file shows the new transaction, but the
// disk may not have it.
func TestFailedMetaSyncBuildsTheFileAnew(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	last := ring.Save{Stamp: stamp(1, 2), From: 4, Entries: entries(4, 90, 700)}
	apply(t, d, ring.Save{Stamp: stamp(1, 1), From: 1, Entries: entries(1, 3, 100)}, last)
	before, err := os.Stat(d.path())
	if err != nil {
		t.Fatal(err)
	}
	d.txid--
	d.lose()
	apply(t, d, last)
	after, err := os.Stat(d.path())
	if err != nil || os.SameFile(before, after) {
		t.Fatalf("it is the same file; %v", err)
	}
	for range 2 {
		equal(t, load(t, d), ring.Disk{Stamp: stamp(1, 2), Entries: append(entries(1, 3, 100), last.Entries...)})
		d.Close()
		d = open(t, dir)
	}
}

func TestPanicOfTheDatabaseIsAnError(t *testing.T) {
	d := open(t, t.TempDir())
	var corrupt *CorruptError
	if err := d.guard(func() error { return d.db.View(func(*bbolt.Tx) error { panic("page 7 already freed") }) }); !errors.As(err, &corrupt) {
		t.Fatalf("guard = %v", err)
	}
	if err := d.Apply(nil); !errors.As(err, &corrupt) {
		t.Fatalf("Apply after a panic = %v", err)
	}
}
