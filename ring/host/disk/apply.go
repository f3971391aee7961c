package disk

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.etcd.io/bbolt"

	"rain/ring"
)

// ErrSave says that a Save does not fit to what is on disk: only a bug in its
// maker can cause that. The disk is unchanged.
var ErrSave = errors.New("a save that does not fit to the record")

// change is one transaction: the new record, which of the old entries stay
// (their positions from front up to keep), and the entries that follow them.
type change struct {
	rec         record
	front, keep int
	add         []ring.Entry
}

func (d *Disk) unchanged() change { return change{rec: d.rec, keep: len(d.sums)} }

// Apply makes several Saves in one atomic, durable step, in order. A Save with
// Replace adopts the fetched snapshot (SnapshotWriter.Commit) with the same
// header; Header nil or with Index 0 needs none. The promise never falls, not
// even with Replace: a Save with a lower one leaves it. Entries that the snapshot under
// the log covers already are passed over; From 0 without entries leaves the log
// alone. It keeps nothing of saves. After an error, which may be a full disk
// (IsNoSpace), call it again with the same saves.
func (d *Disk) Apply(saves []ring.Save) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return err
	}
	c := d.unchanged()
	for i := range saves {
		if err := c.apply(&saves[i], d.hands); err != nil {
			return fmt.Errorf("disk: save %d: %w: %w", saves[i].Ref, ErrSave, err)
		}
	}
	if err := d.commit(c); err != nil {
		return err
	}
	d.dropHands()
	return nil
}

// apply adds one Save to the change.
func (c *change) apply(s *ring.Save, hands []hand) error {
	// A promise is for good: a Save that has none (0) takes none back.
	c.rec.promise = max(c.rec.promise, s.Promise)
	if s.PromiseOnly {
		return nil
	}
	c.rec.stamp, c.rec.stable = s.Stamp, s.Stable
	from, entries := s.From, s.Entries
	if s.Replace {
		if err := c.replace(s, hands); err != nil {
			return err
		}
		if len(entries) == 0 {
			from = 0
		}
	}
	if from == 0 {
		if len(entries) > 0 {
			return errors.New("entries from index 0")
		}
		return nil
	}
	base := c.rec.header.Index
	if from <= base {
		entries = entries[min(base+1-from, uint64(len(entries))):]
		from = base + 1
	}
	kept := c.keep - c.front
	if last := base + uint64(kept+len(c.add)); from > last+1 {
		return fmt.Errorf("entries from index %d, the log ends at %d", from, last)
	}
	for i := range entries {
		if len(entries[i].Data) > ring.MaxOp {
			return fmt.Errorf("entry %d has %d bytes, at most %d can be", from+uint64(i), len(entries[i].Data), ring.MaxOp)
		}
	}
	if stay := int(from - base - 1); stay <= kept {
		c.keep, c.add = c.front+stay, nil
	} else {
		c.add = c.add[:stay-kept]
	}
	c.add = append(c.add, entries...)
	return nil
}

// replace empties the log and puts a fetched snapshot under it.
func (c *change) replace(s *ring.Save, hands []hand) error {
	c.front, c.keep, c.add = 0, 0, nil
	c.rec.header, c.rec.snap = ring.SnapshotHeader{}, snapRef{}
	if s.Header != nil {
		c.rec.header = *s.Header
	}
	if c.rec.header.Index > 0 {
		want := ring.AppendHeader(nil, c.rec.header)
		i := slices.IndexFunc(hands, func(h hand) bool { return bytes.Equal(h.header, want) })
		if i < 0 {
			return fmt.Errorf("no fetched snapshot at index %d, %s is at hand", c.rec.header.Index, c.rec.header.Stamp)
		}
		c.rec.snap = hands[i].ref
	}
	if len(s.Entries) > 0 && s.From != c.rec.header.Index+1 {
		return fmt.Errorf("entries from index %d above a snapshot at %d", s.From, c.rec.header.Index)
	}
	return nil
}

// Compact makes a snapshot of the riders, as they were at header.Index, the base
// of the record and deletes the entries up to there, in one step. header.Index
// must be on disk already: not below the snapshot under the log and not above
// its last entry (else ErrSave). It ends w, whatever it returns.
func (d *Disk) Compact(w *SnapshotWriter, header ring.SnapshotHeader) error {
	h, err := w.finish(header)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.ready()
	if base := d.rec.header.Index; err == nil && (header.Index < base || header.Index > d.rec.last) {
		err = fmt.Errorf("disk: compaction at index %d: %w: the log on disk spans %d to %d", header.Index, ErrSave, base, d.rec.last)
	}
	if err != nil {
		d.remove(d.snapPath(h.ref.name))
		return err
	}
	c := d.unchanged()
	c.front = int(header.Index - d.rec.header.Index)
	c.rec.header, c.rec.snap = header, h.ref
	err = d.commit(c)
	// Failed, but which of the two snapshots is under the log now? One must go:
	// the disk may be full.
	if err != nil && d.ready() == nil && d.rec.snap != h.ref {
		d.remove(d.snapPath(h.ref.name))
	}
	return err
}

// commit writes the change in one transaction, with the two syncs of bbolt: the
// pages, then the meta page that points to them.
func (d *Disk) commit(c change) error {
	oldBase, oldSnap := d.rec.header.Index, d.rec.snap.name
	kept := d.sums[c.front:c.keep]
	first := c.rec.header.Index + 1 + uint64(len(kept))
	c.rec.last = first + uint64(len(c.add)) - 1
	for _, gone := range [][]entrySum{d.sums[:c.front], d.sums[c.keep:]} {
		for _, s := range gone {
			c.rec.digest -= uint64(s.crc)
		}
	}
	keys, values := make([][]byte, len(c.add)), make([][]byte, len(c.add))
	added := make([]entrySum, len(c.add))
	for i, e := range c.add {
		keys[i] = entryKey(first + uint64(i))
		values[i], added[i] = entryValue(keys[i], e)
		c.rec.digest += uint64(added[i].crc)
	}
	var txid uint64
	err := d.guard(func() error {
		return d.db.Update(func(tx *bbolt.Tx) error {
			txid = uint64(tx.ID())
			b := tx.Bucket(bucketName)
			b.FillPercent = 0.9 // entries come in order
			for i := range d.sums {
				if i < c.front || i >= c.keep {
					if err := b.Delete(entryKey(oldBase + 1 + uint64(i))); err != nil {
						return err
					}
				}
			}
			for i := range keys {
				if err := b.Put(keys[i], values[i]); err != nil {
					return err
				}
			}
			return b.Put(headKey, appendHead(&c.rec, txid))
		})
	})
	if err != nil {
		d.lose()
		return fmt.Errorf("disk: writing %s: %w", d.path(), err)
	}
	if c.front > 0 { // let go of the front
		kept = slices.Clone(kept)
	}
	d.adopt(loaded{rec: c.rec, txid: txid, sums: append(kept, added...)})
	if oldSnap != "" && oldSnap != c.rec.snap.name {
		d.remove(d.snapPath(oldSnap))
	}
	return nil
}

// adopt remembers what is on disk now.
func (d *Disk) adopt(l loaded) {
	d.rec, d.txid, d.sums, d.bytes = l.rec, l.txid, l.sums, 0
	for _, s := range l.sums {
		d.bytes += int64(s.size)
	}
}

// lose gives the database up after a failed write: what the kernel still holds
// of it may or may not reach the disk.
func (d *Disk) lose() {
	if err := d.closeDB(); err != nil {
		d.log.Warn("closing after a failed write", slog.String("path", d.path()), slog.Any("err", err))
	}
}
