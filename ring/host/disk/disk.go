// Package disk keeps what a node of the ring must find again after a crash: its
// incarnations, its cold promise, and one record of the log with a snapshot of
// the riders under it.
//
// Guarantees. Apply and Compact are atomic and durable: after an error, a crash
// or a power cut at any moment the disk holds the record from before or the one
// from after, and it holds the one from after once the call has returned nil.
// Damage is found, not used: every value carries a CRC-32C that covers its key,
// the record names its last entry, the sum of all entries' checksums and the
// transaction it was written by, and the tree of the database is walked before
// it is mapped. What is damaged yields *CorruptError, never a panic and never
// other data. Only one process at a time has a data folder open.
//
// Limits. A record that was put back from a backup, whole, cannot be told from
// the newest one. Both meta pages of the database must be intact: one alone
// could be the last transaction but one, which may have promised less.
//
// Files in the data folder:
//
//	ring.db               bbolt: bucket "ring", key "h" (the head) and "e"+index (the entries)
//	snap/INDEX-RAND.snap  the riders' snapshot that the head names, and fetched ones
//	owner                 the lock; says who has the folder
//
// Other files of the names ring.db.*.new and snap/* are left over from a crash
// and removed by Open.
//
// Head, big-endian (crc is the CRC-32C of the key and of all that follows it):
//
//	crc u32 | version u8 | transaction u64 | node u32 | incarnation floor u64 |
//	promise u64 | epoch u64 | seq u64 | stable u64 | last u64 | digest u64 |
//	snapshot: name (length u8, bytes), size u64, crc u32 | header (length u32, ring.AppendHeader)
//
// Entry: crc u32 | ring.AppendEntry. The digest is the sum of the entries' crc.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.etcd.io/bbolt"

	"rain/ring"
)

// incarnationStep is how many incarnations a start reserves, so that the rejoins
// of one process need no disk.
const incarnationStep = 1 << 20

// ErrClosed says that the disk was closed.
var ErrClosed = errors.New("disk: closed")

// Disk is a node's data folder. Its methods may be called from any goroutine;
// each waits for the one before.
type Disk struct {
	dir  string
	me   ring.NodeID
	log  *slog.Logger
	lock *os.File

	mu     sync.Mutex
	db     *bbolt.DB // nil after a failed write, until the next use
	broken error     // for good: closed, or bbolt panicked
	rec    record
	sums   []entrySum // of the entries on disk, in order
	bytes  int64      // of the entries on disk
	txid   uint64     // of the last transaction that is known to be durable
	hands  []hand     // fetched snapshots that a Save may adopt, oldest first
}

// Open opens a node's data folder, makes it if need be, and locks it. Errors to
// tell apart: *InUseError, *OtherNodeError, *CorruptError.
func Open(dir string, me ring.NodeID, log *slog.Logger) (_ *Disk, err error) {
	if err := os.MkdirAll(filepath.Join(dir, snapFolder), 0o700); err != nil {
		return nil, fmt.Errorf("disk: making the data folder: %w", err)
	}
	lock, err := lockFolder(dir, me)
	if err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, me: me, log: log, lock: lock}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.removeLeftovers(".", "ring.db."); err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.path()); errors.Is(err, fs.ErrNotExist) {
		if err := d.build(func(*bbolt.DB) error { return nil }, record{node: me}); err != nil {
			return nil, fmt.Errorf("disk: making %s: %w", d.path(), err)
		}
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	if d.rec.node != me {
		return nil, &OtherNodeError{Dir: dir, Owner: d.rec.node, Me: me}
	}
	if err := d.removeLeftovers(snapFolder, ""); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Disk) path() string { return filepath.Join(d.dir, "ring.db") }

// removeLeftovers removes what a crash left in a folder: files of that prefix
// that the record does not name.
func (d *Disk) removeLeftovers(folder, prefix string) error {
	folder = filepath.Join(d.dir, folder)
	all, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("disk: looking for leftovers: %w", err)
	}
	for _, f := range all {
		if f.Type().IsRegular() && strings.HasPrefix(f.Name(), prefix) && f.Name() != d.rec.snap.name {
			d.remove(filepath.Join(folder, f.Name()))
		}
	}
	return nil
}

// remove removes a file that nothing needs. If it fails, the next Open tries again.
func (d *Disk) remove(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("an old file stays", slog.String("path", path), slog.Any("err", err))
	}
}

// Close gives the folder back. Snapshot readers that are open stay usable.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.Is(d.broken, ErrClosed) {
		return nil
	}
	err := d.closeDB()
	d.broken = ErrClosed
	if err = errors.Join(err, d.lock.Close()); err != nil {
		return fmt.Errorf("disk: closing %s: %w", d.dir, err)
	}
	return nil
}

// closeDB closes the database, unless bbolt panicked: then its locks are in an
// unknown state, and it stays open until the process ends.
func (d *Disk) closeDB() error {
	if d.db == nil || d.broken != nil {
		return nil
	}
	err := d.db.Close()
	d.db = nil
	return err
}

// Load reads the whole record and the snapshot under it and verifies each
// checksum. An empty disk has a zero Stamp. incarnationFloor is at most the next
// incarnation.
func (d *Disk) Load() (_ ring.Disk, incarnationFloor uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return ring.Disk{}, 0, err
	}
	l, err := d.read()
	if err != nil {
		return ring.Disk{}, 0, d.corrupt(err)
	}
	if l.rec.snap.name != "" {
		if err := verifySnapshot(d.snapPath(l.rec.snap.name), d.dir, l.rec.snap); err != nil {
			return ring.Disk{}, 0, err
		}
	}
	return ring.Disk{
		Promise: l.rec.promise, Stamp: l.rec.stamp, Stable: l.rec.stable,
		Header: l.rec.header, Entries: l.entries,
	}, l.rec.floor, nil
}

// NextIncarnation takes a new incarnation, above all that this folder ever gave:
// at least the wall clock in microseconds. A range above it is reserved, so the
// node may count on from there as it rejoins. It is on disk before it returns.
func (d *Disk) NextIncarnation(wallMicros uint64) (ring.Incarnation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return 0, err
	}
	inc := max(d.rec.floor, wallMicros, 1)
	if inc > math.MaxUint64-incarnationStep {
		return 0, fmt.Errorf("disk: incarnation %d leaves no room for another; set this host's clock and start with a new data folder", inc)
	}
	if err := d.raiseFloor(inc + incarnationStep); err != nil {
		return 0, err
	}
	return ring.Incarnation(inc), nil
}

// Reserve makes later incarnations be at least floor, for a node that had to
// take a higher one than its range. It never lowers.
func (d *Disk) Reserve(floor uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return err
	}
	if floor <= d.rec.floor {
		return nil
	}
	return d.raiseFloor(floor)
}

func (d *Disk) raiseFloor(floor uint64) error {
	c := d.unchanged()
	c.rec.floor = floor
	return d.commit(c)
}

// LogBytes is the size of the entries above the snapshot.
func (d *Disk) LogBytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

// LogLen is the number of entries above the snapshot.
func (d *Disk) LogLen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sums)
}

// FreeBytes is the space left for this process on the folder's file system.
func (d *Disk) FreeBytes() (uint64, error) {
	n, err := freeBytes(d.dir)
	if err != nil {
		return 0, fmt.Errorf("disk: free space at %s: %w", d.dir, err)
	}
	return n, nil
}
