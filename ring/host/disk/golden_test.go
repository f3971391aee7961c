package disk

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"rain/ring"
)

const goldenDisk = "testdata/disk_v1.tar.gz"

func goldenEntries() []ring.Entry { return entries(11, 14, 20) }

// A folder that version 1 wrote must be read for as long as version 1 is.
// WRITE=1 writes the file if it is missing, never over one.
func TestGoldenDisk(t *testing.T) {
	if _, err := os.Stat(goldenDisk); os.IsNotExist(err) && os.Getenv("WRITE") != "" {
		writeGolden(t)
	}
	dir := t.TempDir()
	unpack(t, goldenDisk, dir)
	d := open(t, dir)
	equal(t, load(t, d), ring.Disk{Promise: ring.MakeEpoch(2, 1), Stamp: stamp(3, 40), Stable: 13, Header: header(10), Entries: goldenEntries()})
	if text, h := readSnapshot(t, d); text != "riders of version 1" || h.Index != 10 {
		t.Errorf("snapshot %q at %d", text, h.Index)
	}
	// It goes on from there.
	apply(t, d, ring.Save{Ref: 9, Promise: ring.MakeEpoch(2, 1), Stamp: stamp(3, 41), Stable: 14, From: 15, Entries: entries(15, 15, 5)})
	if got := load(t, d); len(got.Entries) != 5 || got.Stamp != stamp(3, 41) {
		t.Errorf("after a save of this version: %+v", got)
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	d := open(t, dir)
	w := snapshot(t, d, "riders of version 1")
	if err := w.Commit(header(10)); err != nil {
		t.Fatal(err)
	}
	h := header(10)
	apply(t, d, ring.Save{Ref: 1, Replace: true, Promise: ring.MakeEpoch(2, 1), Stamp: stamp(3, 40), Stable: 13, From: 11, Entries: goldenEntries(), Header: &h})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(goldenDisk)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	tw := tar.NewWriter(z)
	if err := errors.Join(tw.AddFS(os.DirFS(dir)), tw.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, path, dir string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			continue
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
