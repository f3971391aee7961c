package catalog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/tidwall/btree"

	"rain/ring/wire"
)

const (
	snapMagic = "RAINCAT1"
	// maxFrame is more than the largest record takes.
	maxFrame = 16 << 10

	frameBucket = 1
	frameObject = 2
	frameEnd    = 3
	frameStripe = 4
	frameMoved  = 5
	frameSafe   = 6
	frameLayout = 7
)

// ErrChecksum says that a snapshot's bytes are not those that were written.
var ErrChecksum = errors.New("checksum does not match: the snapshot is damaged; take one from another member")

// framer writes frames and remembers the first error.
type framer struct {
	w   *bufio.Writer
	crc *crc32.Table
	buf []byte
	err error
}

func (f *framer) begin(kind byte) { f.buf = append(f.buf[:0], 0, 0, 0, 0, kind) }

func (f *framer) end() {
	if f.err != nil {
		return
	}
	binary.BigEndian.PutUint32(f.buf, uint32(len(f.buf)-4))
	f.buf = binary.BigEndian.AppendUint32(f.buf, crc32.Checksum(f.buf, f.crc))
	_, f.err = f.w.Write(f.buf)
}

// Write writes the view as a snapshot. As a view never changes, this may be
// done on any goroutine.
func (v *View) Write(w io.Writer) error {
	f := &framer{w: bufio.NewWriterSize(w, 64<<10), crc: crc32.MakeTable(crc32.Castagnoli)}
	_, f.err = f.w.WriteString(snapMagic)
	if v.layout != nil {
		f.begin(frameLayout)
		f.buf = v.layout.appendTo(binary.BigEndian.AppendUint64(f.buf, v.layout.Version))
		f.end()
	}
	buckets := 0
	v.buckets.Scan(func(name string, b *bucket) bool {
		buckets++
		f.bucket(name, b)
		b.objects.Scan(func(key string, r *Record) bool {
			f.begin(frameOf(r))
			f.buf = appendStr16(appendStr8(f.buf, name), key)
			f.buf = binary.BigEndian.AppendUint64(f.buf, r.Version)
			f.buf = r.appendTo(f.buf)
			for _, id := range r.Origin {
				f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(id))
			}
			f.end()
			return f.err == nil
		})
		return f.err == nil
	})
	f.begin(frameEnd)
	f.buf = binary.BigEndian.AppendUint64(f.buf, uint64(buckets))
	f.buf = binary.BigEndian.AppendUint64(f.buf, uint64(v.objects))
	f.end()
	if f.err == nil {
		f.err = f.w.Flush()
	}
	if f.err != nil {
		return fmt.Errorf("catalog: write snapshot: %w", f.err)
	}
	return nil
}

func (f *framer) bucket(name string, b *bucket) {
	if b.least > 0 {
		f.begin(frameSafe)
	} else {
		f.begin(frameBucket)
	}
	f.buf = appendStr8(f.buf, name)
	f.buf = binary.BigEndian.AppendUint16(f.buf, b.n)
	f.buf = binary.BigEndian.AppendUint16(f.buf, b.k)
	if b.least > 0 {
		f.buf = append(f.buf, b.least)
	}
	f.end()
}

func frameOf(r *Record) byte {
	switch {
	case r.Origin != nil:
		return frameMoved
	case r.Striped():
		return frameStripe
	}
	return frameObject
}

// read fills an empty table from a snapshot. It reads to the end frame and not
// beyond what it needs, except for its buffer.
func (t *Table) read(src io.Reader) error {
	br := bufio.NewReaderSize(src, 64<<10)
	magic := make([]byte, len(snapMagic))
	if _, err := io.ReadFull(br, magic); err != nil {
		return fmt.Errorf("catalog: read snapshot: %w", noEOF(err))
	}
	if string(magic) != snapMagic {
		return fmt.Errorf("catalog: snapshot begins with %q: %w", magic, ErrMalformed)
	}
	l := &loader{t: t}
	table := crc32.MakeTable(crc32.Castagnoli)
	buf := make([]byte, maxFrame+8)
	for n := 0; ; n++ {
		payload, err := readFrame(br, buf, table)
		if err != nil {
			return fmt.Errorf("catalog: read snapshot, frame %d: %w", n, err)
		}
		done, err := l.frame(payload)
		if err != nil {
			return fmt.Errorf("catalog: read snapshot, frame %d: %w", n, err)
		}
		if done {
			break
		}
	}
	if _, err := br.ReadByte(); err != io.EOF {
		return fmt.Errorf("catalog: snapshot goes on after its end: %w", ErrMalformed)
	}
	l.closeBucket()
	return nil
}

func readFrame(r io.Reader, buf []byte, table *crc32.Table) ([]byte, error) {
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return nil, noEOF(err)
	}
	n := binary.BigEndian.Uint32(buf)
	if n == 0 || n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, ErrMalformed)
	}
	if _, err := io.ReadFull(r, buf[4:4+n+4]); err != nil {
		return nil, noEOF(err)
	}
	if crc32.Checksum(buf[:4+n], table) != binary.BigEndian.Uint32(buf[4+n:]) {
		return nil, ErrChecksum
	}
	return buf[4 : 4+n], nil
}

// noEOF turns the end of the input in the middle of a snapshot into an error
// that nobody takes for a good end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// loader builds a table from frames and holds them to the one order in which
// Write makes them.
type loader struct {
	t       *Table
	name    string
	bucket  *bucket
	objects *btree.Map[string, *Record]
	lastKey string
}

func (l *loader) closeBucket() {
	if l.objects != nil {
		l.t.buckets.Set(l.name, l.bucket.with(l.objects))
	}
}

func (l *loader) frame(p []byte) (done bool, err error) {
	r := &reader{Reader: wire.Reader{B: p}}
	kind := r.U8()
	switch kind {
	case frameLayout:
		version, layout := r.U64(), r.layout()
		if !r.Done() || l.objects != nil || l.t.layout != nil {
			return false, ErrMalformed
		}
		layout.Version = version
		l.t.layout = layout
	case frameBucket, frameSafe:
		name := r.str8()
		b := &bucket{n: r.U16(), k: r.U16()}
		if kind == frameSafe {
			b.least = r.U8()
			r.Bad = r.Bad || b.least == 0
		}
		if !r.Done() || CheckBucket(name) != nil || name <= l.name || len(l.t.live) >= MaxBuckets {
			return false, ErrMalformed
		}
		l.closeBucket()
		l.name, l.bucket, l.lastKey = name, b, ""
		l.objects = btree.NewMap[string, *Record](0)
		l.t.live[name] = l.objects
	case frameObject, frameStripe, frameMoved:
		return false, l.object(r, kind)
	case frameEnd:
		buckets, objects := r.U64(), r.U64()
		if !r.Done() || buckets != uint64(len(l.t.live)) || objects != uint64(l.t.objects) {
			return false, ErrMalformed
		}
		return true, nil
	default:
		return false, ErrMalformed
	}
	return false, nil
}

func (l *loader) object(r *reader, kind byte) error {
	name, key, version := r.str8(), r.str16(), r.U64()
	rec := r.record(kind != frameObject, kind == frameMoved)
	if !r.Done() || l.objects == nil || name != l.name || key <= l.lastKey || CheckKey(key) != nil {
		return ErrMalformed
	}
	if !l.t.agrees(rec) || !l.t.samePlaces(rec) {
		return ErrMalformed
	}
	rec.Version = version
	l.lastKey = key
	l.objects.Set(key, rec)
	l.t.ref(rec, new(Change))
	l.t.own(rec, name, key, true)
	return nil
}
