package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rain/store/array"
)

// fussyFile says no to writes past the page cache: at once, or at the first one,
// of which it takes a part.
type fussyFile struct {
	osFile
	atOnce, later bool
	on            bool
	past, through int // bytes
}

func (f *fussyFile) direct(on bool) error {
	if on && f.atOnce {
		return syscall.EINVAL
	}
	f.on = on
	return nil
}

func (f *fussyFile) Write(p []byte) (int, error) {
	if f.on && f.later {
		n, err := f.osFile.Write(p[:wideAlign])
		if err != nil {
			return n, err
		}
		return n, fmt.Errorf("write: %w", syscall.EINVAL)
	}
	if f.on {
		if len(p)%wideAlign != 0 {
			return 0, fmt.Errorf("%d bytes past the page cache: %w", len(p), syscall.EINVAL)
		}
		f.past += len(p)
	} else {
		f.through += len(p)
	}
	return f.osFile.Write(p)
}

func TestWideWritesAllOfIt(t *testing.T) {
	g := array.Geometry{N: 2, K: 1, Unit: 64 << 10}
	for name, f := range map[string]*fussyFile{"takes them": {}, "refuses at once": {atOnce: true}, "refuses later": {later: true}} {
		for _, size := range []int{0, 1, 5000, wideBytes - 1, wideBytes, wideBytes + 1, 3*wideBytes + 4097} {
			f.on, f.past, f.through = false, 0, 0
			path := filepath.Join(t.TempDir(), "f")
			inner, err := osFS{}.create(path)
			if err != nil {
				t.Fatal(err)
			}
			f.osFile = inner.(osFile)
			w, want := newWide(g), []byte{}
			rng := rand.New(rand.NewPCG(1, uint64(size)))
			for len(want) < size {
				room := w.room(min(1+rng.IntN(g.Unit), size-len(want)))
				for i := range room {
					room[i] = byte(rng.Uint32())
				}
				want = append(want, room...)
				if err := w.take(f, len(room)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.settle(f); err != nil {
				t.Fatal(err)
			}
			if f.on {
				t.Errorf("%s, %d bytes: writes still go past the page cache", name, size)
			}
			if name == "takes them" && f.past != map[bool]int{true: size &^ (wideAlign - 1)}[size >= wideBytes] {
				t.Errorf("%d bytes: %d went past the page cache", size, f.past)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: wrote %d others, %v", name, size, len(got), err)
			}
			_ = f.Close()
		}
	}
}

// TestWideOnThisDisk writes as a put does, past a real page cache where there is
// such a thing.
func TestWideOnThisDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := osFS{}.create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := newWide(array.Geometry{N: 2, K: 1, Unit: 64 << 10})
	var want []byte
	for i := range 40 {
		room := w.room(64 << 10)
		for j := range room {
			room[j] = byte(i + j>>8)
		}
		want = append(want, room...)
		if err := w.take(f, len(room)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("past the page cache: %v", w.direct)
	if err := w.settle(f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("trailer")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, append(want, "trailer"...)) {
		t.Fatalf("read %d other bytes, %v", len(got), err)
	}
}
