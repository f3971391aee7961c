package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"rain/store/catalog"
)

// file is a body that is being written.
type file interface {
	io.Writer
	io.ReaderAt
	Sync() error
	Close() error
	direct(on bool) error // whether writes go past the page cache
}

type osFile struct{ *os.File }

func (f osFile) direct(on bool) error { return setDirect(f.File, on) }

// filesystem is what the store needs of a file system; tests break it.
type filesystem interface {
	create(path string) (file, error) // must not exist
	open(path string) (*os.File, error)
	size(path string) (int64, error)
	publish(tmp, path string) error // tmp may be open and may stay
	remove(path string) error
	mkdir(path string) error
	list(path string) ([]fs.DirEntry, error)
	syncDir(path string) error
	free(path string) (uint64, error)
}

type osFS struct{}

func (osFS) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) open(path string) (*os.File, error) { return os.Open(path) }

func (osFS) size(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (osFS) publish(tmp, path string) error {
	if runtime.GOOS != "windows" {
		return os.Rename(tmp, path)
	}
	// An open file cannot be renamed there, but it can be linked. What is in
	// the way is a bad copy.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(tmp, path)
}

func (osFS) remove(path string) error                { return os.Remove(path) }
func (osFS) mkdir(path string) error                 { return os.MkdirAll(path, 0o700) }
func (osFS) list(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }
func (osFS) free(path string) (uint64, error)        { return freeBytes(path) }

func (osFS) syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS keeps its own log of names; a folder cannot be synced
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// DiskState says whether this node takes bodies.
type DiskState string

// States of the disk.
const (
	DiskOK      DiskState = "ok"
	DiskReserve DiskState = "reserve" // less free than the reserve
	DiskFull    DiskState = "full"    // a write found no space
	DiskFailed  DiskState = "failed"  // a write failed otherwise
)

// disk writes bodies so that a crash leaves all or nothing of each.
type disk struct {
	fs      filesystem
	dir     string
	reserve uint64
	seq     atomic.Uint64 // of temporary names
	state   atomic.Value  // DiskState, of the last write
	shards  [256]sync.Mutex
	dirs    dirSyncer
}

// openDisk makes the folders and removes what an earlier life left half done.
func openDisk(fsys filesystem, dir string, reserve int64) (*disk, error) {
	d := &disk{fs: fsys, dir: dir, reserve: uint64(reserve)}
	d.dirs = dirSyncer{fs: fsys, waiting: map[string]*syncRound{}}
	d.state.Store(DiskOK)
	for _, sub := range []string{"", "objects", "tmp", "decoded"} {
		if err := fsys.mkdir(filepath.Join(dir, sub)); err != nil {
			return nil, fmt.Errorf("store: make folder: %w", err)
		}
	}
	if err := fsys.syncDir(dir); err != nil {
		return nil, fmt.Errorf("store: sync folder: %w", err)
	}
	for _, sub := range []string{"tmp", "decoded"} {
		left, err := fsys.list(filepath.Join(dir, sub))
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		for _, e := range left {
			if err := fsys.remove(filepath.Join(dir, sub, e.Name())); err != nil {
				return nil, fmt.Errorf("store: remove leftover: %w", err)
			}
		}
	}
	return d, nil
}

func (d *disk) path(s catalog.Sum) string {
	h := s.String()
	return filepath.Join(d.dir, "objects", h[:2], h)
}

// shard guards the name of a body: who links or unlinks it holds the lock.
func (d *disk) shard(s catalog.Sum) *sync.Mutex { return &d.shards[s[0]] }

// room reports whether size more bytes leave the reserve untouched.
func (d *disk) room(size int64) error {
	free, err := d.fs.free(d.dir)
	if err != nil {
		d.state.Store(DiskFailed)
		return fmt.Errorf("store: free space of %s: %w", d.dir, err)
	}
	if free < d.reserve || free-d.reserve < uint64(max(size, 0)) {
		return fmt.Errorf("store: %d bytes free in %s, %d wanted, %d in reserve: %w; delete objects or make room on the disk",
			free, d.dir, max(size, 0), d.reserve, ErrNoSpace)
	}
	return nil
}

// note remembers how the last write went and gives ENOSPC its name.
func (d *disk) note(err error) error {
	switch {
	case err == nil:
		d.state.Store(DiskOK)
		return nil
	case noSpace(err):
		d.state.Store(DiskFull)
		return fmt.Errorf("store: write in %s: %w (%w)", d.dir, ErrNoSpace, err)
	}
	d.state.Store(DiskFailed)
	return fmt.Errorf("store: write in %s: %w", d.dir, err)
}

func (d *disk) status() DiskState {
	st := d.state.Load().(DiskState)
	if free, err := d.fs.free(d.dir); err == nil && free < d.reserve && st == DiskOK {
		return DiskReserve
	}
	return st
}

// temp is a body on its way to its name.
type temp struct {
	file
	path string
}

func (d *disk) temp() (*temp, error) {
	p := filepath.Join(d.dir, "tmp", strconv.FormatUint(d.seq.Add(1), 10))
	f, err := d.fs.create(p)
	if err != nil {
		return nil, d.note(err)
	}
	return &temp{file: f, path: p}, nil
}

// discard closes the file and removes its temporary name, if it is still there.
func (d *disk) discard(t *temp) {
	_ = t.Close()
	_ = d.fs.remove(t.path) // after a rename it is not there, and that is well
}

// commit syncs the body and gives it its name. The caller holds no lock and
// still discards t. have is asked under the shard's lock; true: the body is
// there already.
func (d *disk) commit(t *temp, s catalog.Sum, have func() bool) error {
	if err := t.Sync(); err != nil {
		return d.note(err)
	}
	there, err := d.place(t, s, have)
	if err == nil && !there {
		err = d.dirs.sync(filepath.Dir(d.path(s)))
	}
	return d.note(err)
}

// commitAll gives the pieces of one body, which share a folder, their names. It
// replaces what is there.
func (d *disk) commitAll(temps []*temp, names []catalog.Sum) error {
	for _, t := range temps {
		if err := t.Sync(); err != nil {
			return d.note(err)
		}
	}
	for i, t := range temps {
		if _, err := d.place(t, names[i], func() bool { return false }); err != nil {
			return d.note(err)
		}
	}
	return d.note(d.dirs.sync(filepath.Dir(d.path(names[0]))))
}

// place gives a synced body its name; the folder is not synced yet. It reports
// whether the body was there already.
func (d *disk) place(t *temp, s catalog.Sum, have func() bool) (there bool, err error) {
	mu := d.shard(s)
	mu.Lock()
	defer mu.Unlock()
	if have() {
		return true, nil
	}
	path := d.path(s)
	err = d.fs.publish(t.path, path)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.firstOf(t.path, path)
	}
	return false, err
}

// firstOf makes the folder of the first body that goes there.
func (d *disk) firstOf(tmp, path string) error {
	if err := d.fs.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := d.fs.syncDir(filepath.Join(d.dir, "objects")); err != nil {
		return err
	}
	return d.fs.publish(tmp, path)
}

// dirSyncer lets concurrent syncs of one folder share one.
type dirSyncer struct {
	fs      filesystem
	mu      sync.Mutex
	waiting map[string]*syncRound // the round that has not begun
	running sync.Map              // folder -> *sync.Mutex
}

type syncRound struct {
	done chan struct{}
	err  error
}

// sync returns when a sync of the folder that began after the call is done.
func (s *dirSyncer) sync(dir string) error {
	s.mu.Lock()
	if r := s.waiting[dir]; r != nil {
		s.mu.Unlock()
		<-r.done
		return r.err
	}
	r := &syncRound{done: make(chan struct{})}
	s.waiting[dir] = r
	s.mu.Unlock()
	v, _ := s.running.LoadOrStore(dir, new(sync.Mutex))
	turn := v.(*sync.Mutex)
	turn.Lock() // while another round runs, more may join this one
	s.mu.Lock()
	delete(s.waiting, dir)
	s.mu.Unlock()
	r.err = s.fs.syncDir(dir)
	turn.Unlock()
	close(r.done)
	return r.err
}
