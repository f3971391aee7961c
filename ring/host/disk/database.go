package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

func openBolt(path string) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        500 * time.Millisecond,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
}

// open checks the file, opens it and reads the record. The caller has the
// folder's lock.
func (d *Disk) open() error {
	if err := checkFile(d.path()); err != nil {
		return d.corrupt(err)
	}
	var db *bbolt.DB
	err := d.guard(func() (err error) {
		db, err = openBolt(d.path())
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return &InUseError{Dir: d.dir}
	}
	if err != nil {
		return fmt.Errorf("disk: opening %s: %w", d.path(), err)
	}
	d.db = db
	l, err := d.read()
	if err != nil {
		return errors.Join(d.corrupt(err), d.closeDB())
	}
	l.entries = nil
	d.adopt(l)
	return nil
}

// ready makes sure that the database is open. A failed write closed it. If the
// file shows the transaction that failed, then the sync of its meta page did: the
// kernel may show what will never reach the disk. So the file is built anew from
// what can be read and verified. Else nothing of that transaction counts.
func (d *Disk) ready() error {
	if d.broken != nil {
		return d.broken
	}
	if d.db != nil {
		return nil
	}
	durable := d.txid
	if err := d.open(); err != nil {
		return err
	}
	if d.txid == durable {
		return nil
	}
	return d.rebuild(durable)
}

func (d *Disk) rebuild(durable uint64) error {
	src := d.db
	err := d.build(func(dst *bbolt.DB) error {
		return errors.Join(bbolt.Compact(dst, src, 0), d.closeDB())
	}, d.rec)
	if err != nil {
		d.lose()
		d.txid = durable
		return fmt.Errorf("disk: building %s anew after a failed write: %w", d.path(), err)
	}
	return d.open()
}

// build makes a database file under another name, fills it, gives it the head
// and puts it in place: temporary name, write, sync, rename, sync the folder.
func (d *Disk) build(fill func(*bbolt.DB) error, rec record) (err error) {
	tmp := fmt.Sprintf("%s.%s.new", d.path(), rand.Text()[:8])
	db, err := openBolt(tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.remove(tmp)
		}
	}()
	err = d.guard(func() error {
		if err := fill(db); err != nil {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketName)
			if err != nil {
				return err
			}
			return b.Put(headKey, appendHead(&rec, uint64(tx.ID())))
		})
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, d.path()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path()))
}

// guard runs what uses bbolt. bbolt maps the file into memory and trusts it: a
// page that rots, or that the disk cannot read, shows as a panic or a fault.
// After one the state of bbolt's locks is unknown, and the disk stays broken.
func (d *Disk) guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			d.broken = d.corrupt(fmt.Errorf("panic of the database: %v", p))
			err = d.broken
		}
	}()
	return f()
}

// corrupt makes a CorruptError of what is wrong with the database file, unless
// it is an error of another kind.
func (d *Disk) corrupt(err error) error {
	var version *VersionError
	var already *CorruptError
	var path *os.PathError
	switch {
	case errors.As(err, &version):
		version.File = d.path()
		return version
	case errors.As(err, &already):
		return err
	case errors.As(err, &path):
		return fmt.Errorf("disk: reading %s: %w", d.path(), err)
	}
	return &CorruptError{Dir: d.dir, File: d.path(), What: err.Error(), Err: err}
}
