package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"rain/ring"
)

const headVersion = 1

var (
	bucketName = []byte("ring")
	headKey    = []byte("h")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// record is all of the disk but the entries.
type record struct {
	node    ring.NodeID
	floor   uint64 // of the next incarnation
	promise ring.Epoch
	stamp   ring.Stamp
	stable  uint64
	header  ring.SnapshotHeader
	snap    snapRef
	last    uint64 // index of the last entry, header.Index if there is none
	digest  uint64 // sum of the entries' checksums
}

// entrySum is what is remembered of an entry on disk.
type entrySum struct {
	crc  uint32
	size uint32
}

// loaded is what read found.
type loaded struct {
	rec     record
	txid    uint64
	sums    []entrySum
	bytes   int64
	entries []ring.Entry
}

// sum is the checksum of a value under its key.
func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// entryKey is the key of the entry with that index; keys sort as indices do.
func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'e'}, index)
}

func entryValue(key []byte, e ring.Entry) ([]byte, entrySum) {
	v := ring.AppendEntry(make([]byte, 4, 64+len(e.Data)), e)
	crc := sum(key, v[4:])
	binary.BigEndian.PutUint32(v, crc)
	return v, entrySum{crc, uint32(len(v))}
}

// appendHead is the head's value, as written by that transaction.
func appendHead(r *record, txid uint64) []byte {
	be := binary.BigEndian
	b := make([]byte, 4, 256)
	b = append(b, headVersion)
	b = be.AppendUint64(b, txid)
	b = be.AppendUint32(b, uint32(r.node))
	for _, v := range []uint64{r.floor, uint64(r.promise), uint64(r.stamp.Epoch), r.stamp.Seq, r.stable, r.last, r.digest} {
		b = be.AppendUint64(b, v)
	}
	b = append(b, byte(len(r.snap.name)))
	b = append(b, r.snap.name...)
	b = be.AppendUint64(b, r.snap.size)
	b = be.AppendUint32(b, r.snap.crc)
	h := ring.AppendHeader(nil, r.header)
	b = be.AppendUint32(b, uint32(len(h)))
	b = append(b, h...)
	be.PutUint32(b, sum(headKey, b[4:]))
	return b
}

var errHead = errors.New("the head is damaged")

// parseHead reads what appendHead wrote. Errors: errHead, *VersionError.
func parseHead(b []byte) (r record, txid uint64, err error) {
	be := binary.BigEndian
	const fixed = 4 + 1 + 8 + 4 + 7*8
	if len(b) < fixed+1 || be.Uint32(b) != sum(headKey, b[4:]) {
		return r, 0, errHead
	}
	if b[4] != headVersion {
		return r, 0, &VersionError{Have: int(b[4]), Max: headVersion}
	}
	txid = be.Uint64(b[5:])
	r.node = ring.NodeID(be.Uint32(b[13:]))
	nums := b[17:fixed]
	for i, p := range []*uint64{&r.floor, (*uint64)(&r.promise), (*uint64)(&r.stamp.Epoch), &r.stamp.Seq, &r.stable, &r.last, &r.digest} {
		*p = be.Uint64(nums[8*i:])
	}
	b = b[fixed:]
	n := int(b[0])
	if len(b) < 1+n+8+4+4 {
		return r, 0, errHead
	}
	r.snap.name = string(b[1 : 1+n])
	b = b[1+n:]
	r.snap.size, r.snap.crc = be.Uint64(b), be.Uint32(b[8:])
	if uint64(be.Uint32(b[12:])) != uint64(len(b)-16) {
		return r, 0, errHead
	}
	if r.header, err = ring.ParseHeader(b[16:]); err != nil || r.last < r.header.Index {
		return r, 0, errHead
	}
	return r, txid, nil
}

// read reads and verifies the record. The caller holds mu, and db is open.
func (d *Disk) read() (l loaded, err error) {
	err = d.guard(func() error {
		return d.db.View(func(tx *bbolt.Tx) error { return l.from(tx) })
	})
	return l, err
}

func (l *loaded) from(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketName)
	if b == nil {
		return errors.New("it has no record")
	}
	rec, txid, err := parseHead(b.Get(headKey))
	if err != nil {
		return err
	}
	if txid != uint64(tx.ID()) {
		return fmt.Errorf("the head is of transaction %d, the file of %d", txid, tx.ID())
	}
	l.rec, l.txid = rec, txid
	next := rec.header.Index + 1
	var digest uint64
	err = b.ForEach(func(k, v []byte) error {
		if string(k) == string(headKey) {
			return nil
		}
		if string(k) != string(entryKey(next)) {
			return fmt.Errorf("instead of entry %d there is %x", next, k)
		}
		if len(v) < 4 || binary.BigEndian.Uint32(v) != sum(k, v[4:]) {
			return fmt.Errorf("entry %d has a wrong checksum", next)
		}
		e, err := ring.ParseEntry(v[4:])
		if err != nil {
			return fmt.Errorf("entry %d: %w", next, err)
		}
		crc := binary.BigEndian.Uint32(v)
		l.sums = append(l.sums, entrySum{crc, uint32(len(v))})
		l.entries = append(l.entries, e)
		l.bytes += int64(len(v))
		digest += uint64(crc)
		next++
		return nil
	})
	if err != nil {
		return err
	}
	if next != rec.last+1 || digest != rec.digest {
		return fmt.Errorf("the entries up to %d are not those that the head, which ends at %d, was written with", next-1, rec.last)
	}
	return nil
}
