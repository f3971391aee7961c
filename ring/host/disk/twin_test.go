package disk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"rain/ring"
)

// A dumb twin does the same as the disk, for a few hundred random steps.
func TestAgainstTwin(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	rng := rand.New(rand.NewPCG(1, 2))
	var twin ring.Disk
	for step := range 300 {
		base := twin.Header.Index
		last := base + uint64(len(twin.Entries))
		switch k := rng.IntN(20); {
		case k == 0:
			d.Close()
			d = open(t, dir)
		case k < 3 && last > 0 && base < last:
			h := header(base + 1 + rng.Uint64N(last-base))
			if err := d.Compact(snapshot(t, d, fmt.Sprint(h.Index)), h); err != nil {
				t.Fatal(err)
			}
			twin.Entries = twin.Entries[h.Index-base:]
			twin.Header = h
		case k == 4:
			h := header(1 + rng.Uint64N(50))
			if err := snapshot(t, d, fmt.Sprint(h.Index)).Commit(h); err != nil {
				t.Fatal(err)
			}
			add := entries(h.Index+1, h.Index+rng.Uint64N(30), 200)
			apply(t, d, ring.Save{Replace: true, Stamp: stamp(2, uint64(step)), Header: &h, From: h.Index + 1, Entries: add})
			twin = ring.Disk{Promise: twin.Promise, Stamp: stamp(2, uint64(step)), Header: h, Entries: add}
		default:
			var group []ring.Save
			for range 1 + rng.IntN(3) {
				last = base + uint64(len(twin.Entries))
				from := last + 1 - min(rng.Uint64N(4), last-base)
				add := entries(from, from+rng.Uint64N(8), rng.IntN(2000))
				group = append(group, ring.Save{Promise: twin.Promise + 1, Stamp: stamp(3, uint64(step)), Stable: base, From: from, Entries: add})
				twin.Promise, twin.Stamp, twin.Stable = twin.Promise+1, stamp(3, uint64(step)), base
				twin.Entries = append(twin.Entries[:from-base-1:from-base-1], add...)
			}
			apply(t, d, group...)
		}
		equal(t, load(t, d), twin)
		if twin.Header.Index > 0 {
			if text, _ := readSnapshot(t, d); text != fmt.Sprint(twin.Header.Index) {
				t.Fatalf("step %d: the snapshot at %d says %s", step, twin.Header.Index, text)
			}
		}
	}
}
