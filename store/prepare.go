package store

import (
	"context"
	"fmt"
	"io"
	"time"

	"rain/store/catalog"
)

// Prepared is a put or a delete of which all is done but the op on the token:
// the body is where a put would have it, synced. Whoever brings Op to the
// catalog, by whatever way, does the rest; doing nothing leaves an orphan, which
// goes after Config.OrphanGrace. Conditions count when the op is applied.
type Prepared struct {
	Bucket, Key string // of an append the key is the prefix of the key
	Op          []byte // for the catalog's Apply; at most ring.MaxOp bytes
	// Info is what is known of the version before the op, of a put: all but
	// Version. Of an append the key is the prefix.
	Info Info

	appends bool
	rec     catalog.Record
	stored  int
}

// PreparePut does all of a put but its op.
func (s *Store) PreparePut(ctx context.Context, bucket, key string, body io.Reader, opt PutOptions) (*Prepared, error) {
	p := &Prepared{Bucket: bucket, Key: key}
	if err := s.prepare(ctx, p, body, opt, false); err != nil {
		return nil, fmt.Errorf("store: put %s/%s: %w", bucket, key, err)
	}
	p.Info = p.info()
	return p, nil
}

// PrepareAppend does all of an append but its op: a put of a new key that is
// prefix and the op's index in 20 digits, so that keys ascend in the order of
// the token, and what is done twice is there twice. opt has no condition.
func (s *Store) PrepareAppend(ctx context.Context, bucket, prefix string, body io.Reader, opt PutOptions) (*Prepared, error) {
	p := &Prepared{Bucket: bucket, Key: prefix, appends: true}
	opt.IfMatch, opt.IfAbsent = "", false
	if err := s.prepare(ctx, p, body, opt, false); err != nil {
		return nil, fmt.Errorf("store: append to %s/%s: %w", bucket, prefix, err)
	}
	p.Info = p.info()
	return p, nil
}

// PrepareDelete makes the op of a delete.
func (s *Store) PrepareDelete(bucket, key, ifMatch string) (*Prepared, error) {
	if err := checkNames(bucket, key); err != nil {
		return nil, fmt.Errorf("store: delete %s/%s: %w", bucket, key, err)
	}
	op, err := catalog.EncodeDelete(bucket, key, catalog.Cond{IfMatch: ifMatch})
	if err != nil {
		return nil, fmt.Errorf("store: delete %s/%s: %w: %w", bucket, key, ErrBadMeta, err)
	}
	return &Prepared{Bucket: bucket, Key: key, Op: op}, nil
}

// Result says what the catalog's answer to an op means: the version that was
// made or taken away, whether the key was new, and the error that Put or Delete
// would have returned.
func Result(result []byte) (version uint64, created bool, err error) {
	res, err := catalog.ParseResult(result)
	if err != nil {
		return 0, false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return res.Version, res.Outcome == catalog.Created, outcomeError(res)
}

// HoldOrphans makes the store keep what was stored up to a grace before oldest():
// bodies that ops under way elsewhere than in the catalog may yet name. oldest is
// zero if there are none. Call it before Run.
func (s *Store) HoldOrphans(oldest func() time.Time) { s.holdOrphans = oldest }

// HoldNamed makes the store keep deleted bodies that an op names which is under
// way elsewhere than in the catalog; ops yields them all. Call it before Run.
func (s *Store) HoldNamed(ops func(yield func(op []byte))) { s.opsUnderWay = ops }

func (p *Prepared) encode(c catalog.Cond) ([]byte, error) {
	if p.appends {
		return catalog.EncodeAppend(p.Bucket, p.Key, p.rec)
	}
	return catalog.EncodePut(p.Bucket, p.Key, c, p.rec)
}

// firstKey is a key to hold the names' limits to.
func (p *Prepared) firstKey() string {
	if p.appends {
		return catalog.AppendedKey(p.Key, 0)
	}
	return p.Key
}

// info is the version's, as far as it is known before the op.
func (p *Prepared) info() Info {
	r := p.rec.Derive()
	return Info{
		Bucket: p.Bucket, Key: p.Key, SHA256: r.Hex, Size: r.Size, ContentType: r.Type, ETag: r.ETag,
		Modified: time.Unix(r.Modified, 0).UTC(), Meta: r.Meta, N: int(r.N), K: int(r.K),
		Stored: p.stored, Survives: max(p.stored-int(r.K), 0),
	}
}

func (s *Store) putInfo(p *Prepared, res catalog.Result) Info {
	rec := p.rec
	rec.Version = res.Version
	info := s.infoOf(p.Bucket, p.Key, rec.Derive())
	info.Stored, info.Survives = p.stored, max(p.stored-info.K, 0)
	return info
}

// Count is the number of objects in a bucket.
func (s *Store) Count(bucket string) int { return s.table.Now().Len(bucket) }

// ListBack returns up to limit objects of a bucket whose keys come before the key
// before ("": all), descending by bytes. more says that there are others.
func (s *Store) ListBack(bucket, before string, limit int) (page []Info, more bool) {
	s.table.Now().ListBack(bucket, before, func(key string, r *catalog.Record) bool {
		if more = len(page) == limit; more {
			return false
		}
		page = append(page, s.infoOf(bucket, key, r))
		return true
	})
	return page, more
}

// Catalog is the table of objects as this member knows it now. It never changes.
func (s *Store) Catalog() *catalog.View { return s.table.Now() }
