package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The file format of bbolt, as far as the check needs it; in the byte order of
// the host.
//
//	page    id u64 | flags u16 | count u16 | overflow u32 | elements | keys and values
//	branch  pos u32 | key size u32 | page u64      (pos counts from the element)
//	leaf    flags u32 | pos u32 | key size u32 | value size u32
//	meta    magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64 |
//	        freelist u64 | high water u64 | transaction u64 | FNV-1a of these u64
//	bucket  root u64 | sequence u64 | if root is 0: a leaf page
const (
	pageHeader  = 16
	elementSize = 16
	metaSize    = 64
	branchPage  = 1
	leafPage    = 2
	isBucket    = 1
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)
	maxDepth    = 32
)

var order = binary.NativeEndian

// checkFile walks a database file before bbolt maps it. bbolt has a check of its
// own, but opening the file comes first, and both panic on goroutines that
// nobody can recover. It needs nothing right: every number is held against the
// file's size. What it passes, bbolt reads without fault.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return checkTree(f, info.Size())
}

// walk is one walk over a database file.
type walk struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	high     uint64
	seen     map[uint64]bool
}

func checkTree(r io.ReaderAt, size int64) error {
	w := &walk{r: r, size: size, seen: map[uint64]bool{}}
	root, err := w.metas()
	if err != nil {
		return err
	}
	buckets := 0
	_, err = w.tree(root, nil, 0, func(flags uint32, key, value []byte) error {
		buckets++
		if flags != isBucket || !bytes.Equal(key, bucketName) || len(value) < 16 {
			return fmt.Errorf("an unknown bucket %q", key)
		}
		return w.bucket(value)
	})
	if err == nil && buckets != 1 {
		err = fmt.Errorf("%d buckets instead of one", buckets)
	}
	return err
}

// bucket walks the bucket of the record.
func (w *walk) bucket(value []byte) error {
	plain := func(flags uint32, key, _ []byte) error {
		if flags != 0 {
			return fmt.Errorf("key %x has flags %x", key, flags)
		}
		return nil
	}
	if root := order.Uint64(value); root != 0 {
		_, err := w.tree(root, nil, 0, plain)
		return err
	}
	page := value[16:]
	if len(page) < pageHeader || order.Uint16(page[8:]) != leafPage {
		return errors.New("the bucket is no page")
	}
	_, err := w.leaf(page, nil, plain)
	return err
}

// metas reads both meta pages and returns the newer one's root page.
func (w *walk) metas() (root uint64, err error) {
	first, err := w.meta(0)
	if err != nil {
		return 0, fmt.Errorf("meta page 0: %w", err)
	}
	w.pageSize = int64(order.Uint32(first[8:]))
	if w.pageSize < 1024 || w.pageSize > 1<<16 || w.pageSize&(w.pageSize-1) != 0 {
		return 0, fmt.Errorf("meta page 0: page size %d", w.pageSize)
	}
	second, err := w.meta(w.pageSize)
	if err != nil {
		return 0, fmt.Errorf("meta page 1: %w", err)
	}
	if order.Uint32(second[8:]) != uint32(w.pageSize) {
		return 0, errors.New("the meta pages have two page sizes")
	}
	a, b := order.Uint64(first[48:]), order.Uint64(second[48:])
	newest := first
	switch {
	case b == a+1:
		newest = second
	case a != b+1:
		return 0, fmt.Errorf("meta pages of transactions %d and %d, which do not follow each other", a, b)
	}
	if order.Uint64(newest[32:]) != noFreelist {
		return 0, errors.New("the meta page names a freelist, which is never written")
	}
	// bbolt counts up to this number as it looks for free pages. The file is
	// grown before it is written, so this is generous.
	if w.high = order.Uint64(newest[40:]); w.high > 2*uint64(w.size/w.pageSize)+1024 {
		return 0, fmt.Errorf("the meta page speaks of %d pages", w.high)
	}
	return order.Uint64(newest[16:]), nil
}

func (w *walk) meta(at int64) ([]byte, error) {
	m := make([]byte, metaSize)
	if err := w.read(m, at+pageHeader); err != nil {
		return nil, err
	}
	h := fnv.New64a()
	h.Write(m[:56])
	if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || order.Uint64(m[56:]) != h.Sum64() {
		return nil, errors.New("wrong checksum")
	}
	return m, nil
}

func (w *walk) read(b []byte, at int64) error {
	_, err := w.r.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// tree walks the pages from id on. Keys must rise, and be above after. It
// returns the last key.
func (w *walk) tree(id uint64, after []byte, depth int, visit func(flags uint32, key, value []byte) error) ([]byte, error) {
	p, err := w.page(id)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	switch flags := order.Uint16(p[8:]); {
	case flags == leafPage:
		after, err = w.leaf(p, after, visit)
		if err != nil {
			err = fmt.Errorf("page %d: %w", id, err)
		}
		return after, err
	case flags != branchPage || depth == maxDepth:
		return nil, fmt.Errorf("page %d: no page of a tree", id)
	}
	count := int(order.Uint16(p[10:]))
	if count == 0 || pageHeader+count*elementSize > len(p) {
		return nil, fmt.Errorf("page %d: %d elements", id, count)
	}
	for i := range count {
		e := pageHeader + i*elementSize
		key, err := slice(p, e, order.Uint32(p[e:]), order.Uint32(p[e+4:]))
		if err != nil || len(key) == 0 || after != nil && bytes.Compare(key, after) <= 0 {
			return nil, fmt.Errorf("page %d: key %d is out of place", id, i)
		}
		var first []byte
		after, err = w.tree(order.Uint64(p[e+8:]), after, depth+1, func(flags uint32, k, v []byte) error {
			if first == nil {
				first = bytes.Clone(k)
			}
			return visit(flags, k, v)
		})
		if err != nil {
			return nil, err
		}
		if first == nil || bytes.Compare(key, first) > 0 {
			return nil, fmt.Errorf("page %d: key %d is not that of its page", id, i)
		}
	}
	return after, nil
}

// leaf visits the elements of a leaf page. It returns the last key.
func (w *walk) leaf(p, after []byte, visit func(flags uint32, key, value []byte) error) ([]byte, error) {
	count := int(order.Uint16(p[10:]))
	if pageHeader+count*elementSize > len(p) {
		return nil, fmt.Errorf("%d elements", count)
	}
	for i := range count {
		e := pageHeader + i*elementSize
		pos, ks, vs := order.Uint32(p[e+4:]), order.Uint32(p[e+8:]), order.Uint32(p[e+12:])
		key, err := slice(p, e, pos, ks)
		if err != nil || len(key) == 0 || after != nil && bytes.Compare(key, after) <= 0 {
			return nil, fmt.Errorf("key %d is out of place", i)
		}
		value, err := slice(p, e, pos, ks, vs)
		if err != nil {
			return nil, err
		}
		if err := visit(order.Uint32(p[e:]), key, value[ks:]); err != nil {
			return nil, err
		}
		after = key
	}
	return bytes.Clone(after), nil
}

// page reads a page that nothing else refers to.
func (w *walk) page(id uint64) ([]byte, error) {
	pages := uint64(w.size / w.pageSize)
	if id < 2 || id >= w.high || id >= pages {
		return nil, errors.New("lies outside of the file")
	}
	var head [pageHeader]byte
	if err := w.read(head[:], int64(id)*w.pageSize); err != nil {
		return nil, err
	}
	n := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head[:]) != id || n > w.high-id || n > pages-id {
		return nil, errors.New("is not what it should be")
	}
	for i := range n {
		if w.seen[id+i] {
			return nil, errors.New("is used twice")
		}
		w.seen[id+i] = true
	}
	p := make([]byte, int64(n)*w.pageSize)
	return p, w.read(p, int64(id)*w.pageSize)
}

// slice is the part of p that begins pos behind at and has the sum of the sizes.
func slice(p []byte, at int, pos uint32, sizes ...uint32) ([]byte, error) {
	from := int64(at) + int64(pos)
	to := from
	for _, s := range sizes {
		to += int64(s)
	}
	if to > int64(len(p)) {
		return nil, errors.New("an element lies outside of its page")
	}
	return p[from:to], nil
}
