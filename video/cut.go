package video

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"rain/snow/httpfile"
	"rain/store"
	"rain/video/film"
)

// wholeSegment is up to which size a segment is put together in memory; larger
// ones are read while they are sent.
const wholeSegment = 4 << 20

// openFilm opens the film of an entry.
func (s *Server) openFilm(ctx context.Context, e *entry) (*store.Object, error) {
	o, err := s.deps.Content.Open(ctx, Bucket, e.Key)
	if err != nil {
		return nil, fmt.Errorf("video: open %s: %w", e.Key, err)
	}
	if o.SHA256 != e.Index.SHA256 || o.Size != e.Index.Size {
		return nil, errors.Join(fmt.Errorf("video: %s is not the film of its index: %w", e.Key, ErrChanged), o.Body.Close())
	}
	return o, nil
}

// movie gives the sample tables of a film.
func (s *Server) movie(ctx context.Context, e *entry, o *store.Object) (*film.Movie, error) {
	return s.tables.get(ctx, e.Index.SHA256, func() (*film.Movie, error) { return film.Parse(o.Body, o.Size) })
}

// initSegment is small and made each time.
func (s *Server) initSegment(ctx context.Context, e *entry) (b []byte, err error) {
	o, err := s.openFilm(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Body.Close()) }()
	m, err := s.movie(ctx, e, o)
	if err != nil {
		return nil, err
	}
	return m.Init()
}

// segment opens segment n; the caller closes what it gets.
func (s *Server) segment(ctx context.Context, e *entry, n int) (*segmentBody, error) {
	key := cutKey{e.Index.SHA256, n}
	if b := s.cuts.get(key); b != nil {
		return &segmentBody{size: int64(len(b)), bytes: b}, nil
	}
	o, err := s.openFilm(ctx, e)
	if err != nil {
		return nil, err
	}
	m, err := s.movie(ctx, e, o)
	if err != nil {
		return nil, errors.Join(err, o.Body.Close())
	}
	seg, err := m.Segment(e.Index, n)
	if err != nil {
		return nil, errors.Join(err, o.Body.Close())
	}
	b := &segmentBody{size: seg.Size, seg: seg, film: o.Body}
	if seg.Size > wholeSegment {
		return b, nil
	}
	whole, err := b.whole()
	if err = errors.Join(err, o.Body.Close()); err != nil {
		return nil, err
	}
	s.cuts.put(key, whole)
	return &segmentBody{size: seg.Size, bytes: whole}, nil
}

// segmentBody is a segment as httpfile wants it: in memory, or a header and
// parts of the film.
type segmentBody struct {
	size  int64
	bytes []byte
	seg   *film.Segment
	film  store.BodyReader
}

var _ httpfile.Body = (*segmentBody)(nil)

func (b *segmentBody) Bytes() []byte  { return b.bytes }
func (b *segmentBody) File() *os.File { return nil }

func (b *segmentBody) Close() error {
	if b.film == nil {
		return nil
	}
	return b.film.Close()
}

// whole reads all of the segment. Picture and sound lie side by side in most
// films, so one read of all that is between first and last byte is cheaper than
// one for each run of samples.
func (b *segmentBody) whole() ([]byte, error) {
	out := make([]byte, b.size)
	at := copy(out, b.seg.Header)
	if len(b.seg.Parts) == 0 {
		return out, nil
	}
	lo, hi := b.seg.Parts[0].Offset, int64(0)
	for _, p := range b.seg.Parts {
		lo, hi = min(lo, p.Offset), max(hi, p.Offset+p.Length)
	}
	var span []byte
	if hi-lo <= 2*b.size {
		span = make([]byte, hi-lo)
		if n, err := b.film.ReadAt(span, lo); n < len(span) {
			return nil, short(n, len(span), lo, err)
		}
	}
	for _, p := range b.seg.Parts {
		part := out[at : at+int(p.Length)]
		at += len(part)
		if span != nil {
			copy(part, span[p.Offset-lo:])
		} else if n, err := b.film.ReadAt(part, p.Offset); n < len(part) {
			return nil, short(n, len(part), p.Offset, err)
		}
	}
	return out, nil
}

func short(n, want int, at int64, err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("video: read a film at %d: %d of %d bytes: %w", at, n, want, err)
}

// ReadAt reads across the header and the parts.
func (b *segmentBody) ReadAt(p []byte, off int64) (n int, err error) {
	if b.bytes != nil {
		if off >= int64(len(b.bytes)) {
			return 0, io.EOF
		}
		if n = copy(p, b.bytes[off:]); n < len(p) {
			err = io.EOF
		}
		return n, err
	}
	if h := int64(len(b.seg.Header)); off < h {
		n = copy(p, b.seg.Header[off:])
		off = 0
	} else {
		off -= h
	}
	for _, part := range b.seg.Parts {
		if n == len(p) {
			return n, nil
		}
		if off >= part.Length {
			off -= part.Length
			continue
		}
		want := p[n:min(len(p), n+int(part.Length-off))]
		got, err := b.film.ReadAt(want, part.Offset+off)
		n += got
		if got < len(want) {
			return n, short(got, len(want), part.Offset+off, err)
		}
		off = 0
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}
