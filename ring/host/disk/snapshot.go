package disk

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"rain/ring"
)

// A snapshot file, big-endian:
//
//	"RAINSNP1" | chunks | end
//	chunk  length u32 (1 to 65536; only the last may be below 65536) | crc u32 | bytes
//	end    0 u32 | size u64 | crc of all bytes u32 | header length u32 | header | crc of the end u32
//
// All crc are CRC-32C; the end's covers what stands between its 0 and itself.
// Nothing follows the end.
const (
	snapMagic  = "RAINSNP1"
	snapFolder = "snap"
	chunkSize  = 64 << 10
	maxHeader  = 64 << 10
	// MaxSnapshot is how many bytes a snapshot of all riders may have.
	MaxSnapshot = 4 << 30
	// maxHands: a Save may still be on its way for an older one.
	maxHands = 3
)

// ErrNoSnapshot says that there is no snapshot to read.
var ErrNoSnapshot = errors.New("disk: no snapshot")

// snapRef names a snapshot file and what it holds.
type snapRef struct {
	name string
	size uint64 // of the riders' bytes
	crc  uint32 // of the riders' bytes
}

// hand is a fetched snapshot, complete on disk but under no log.
type hand struct {
	header []byte // ring.AppendHeader
	ref    snapRef
}

func (d *Disk) snapPath(name string) string { return filepath.Join(d.dir, snapFolder, name) }

// SnapshotWriter takes the bytes of a snapshot. It ends with Commit, with
// Disk.Compact or with Abort. One goroutine at a time may use it.
type SnapshotWriter struct {
	d    *Disk
	f    *os.File
	name string // before it is complete
	buf  []byte // of the chunk that is being filled
	size uint64
	crc  uint32
	err  error // the first one; or what ended it
}

var errEnded = errors.New("the snapshot was ended before")

// NewSnapshot begins a snapshot file. Write the riders' bytes to it.
func (d *Disk) NewSnapshot() (*SnapshotWriter, error) {
	name := rand.Text()[:12] + ".tmp"
	f, err := os.OpenFile(d.snapPath(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("disk: making a snapshot: %w", err)
	}
	w := &SnapshotWriter{d: d, f: f, name: name, buf: make([]byte, 0, chunkSize)}
	if _, err := f.WriteString(snapMagic); err != nil {
		w.Abort()
		return nil, fmt.Errorf("disk: making a snapshot: %w", err)
	}
	return w, nil
}

// Write adds bytes to the snapshot.
func (w *SnapshotWriter) Write(p []byte) (int, error) {
	n := 0
	for w.err == nil && n < len(p) {
		m := min(chunkSize-len(w.buf), len(p)-n)
		w.buf = append(w.buf, p[n:n+m]...)
		n += m
		if len(w.buf) == chunkSize {
			w.flush()
		}
	}
	if w.err != nil {
		return n, fmt.Errorf("disk: writing a snapshot: %w", w.err)
	}
	return n, nil
}

func (w *SnapshotWriter) flush() {
	if len(w.buf) == 0 || w.err != nil {
		return
	}
	if w.size += uint64(len(w.buf)); w.size > MaxSnapshot {
		w.err = fmt.Errorf("a snapshot above %d bytes", uint64(MaxSnapshot))
		return
	}
	w.crc = crc32.Update(w.crc, castagnoli, w.buf)
	head := binary.BigEndian.AppendUint32(nil, uint32(len(w.buf)))
	w.put(binary.BigEndian.AppendUint32(head, crc32.Checksum(w.buf, castagnoli)))
	w.put(w.buf)
	w.buf = w.buf[:0]
}

func (w *SnapshotWriter) put(b []byte) {
	if w.err == nil {
		_, w.err = w.f.Write(b)
	}
}

// Commit completes a fetched snapshot: it is at hand now, for FetchedReader and
// for a Save with Replace and this header. The last few stay at hand until one
// is adopted.
func (w *SnapshotWriter) Commit(header ring.SnapshotHeader) error {
	h, err := w.finish(header)
	if err != nil {
		return err
	}
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hands = append(d.hands, h)
	if len(d.hands) > maxHands {
		d.remove(d.snapPath(d.hands[0].ref.name))
		d.hands = slices.Delete(d.hands, 0, 1)
	}
	return nil
}

// Abort gives an incomplete snapshot up. After Commit or Compact it does nothing.
func (w *SnapshotWriter) Abort() {
	if w.f == nil {
		return
	}
	w.f.Close()
	w.d.remove(w.d.snapPath(w.name))
	w.f, w.err = nil, errEnded
}

// finish writes the end and gives the file its name for good.
func (w *SnapshotWriter) finish(header ring.SnapshotHeader) (hand, error) {
	if w.f == nil {
		return hand{}, fmt.Errorf("disk: completing a snapshot: %w", errEnded)
	}
	defer w.Abort() // unless it succeeds
	h := hand{header: ring.AppendHeader(nil, header)}
	w.flush()
	w.put(appendEnd(nil, w.size, w.crc, h.header))
	if w.err == nil {
		w.err = w.f.Sync()
	}
	if w.err != nil {
		return hand{}, fmt.Errorf("disk: completing a snapshot: %w", w.err)
	}
	h.ref = snapRef{name: fmt.Sprintf("%d-%s.snap", header.Index, rand.Text()[:8]), size: w.size, crc: w.crc}
	from, to := w.d.snapPath(w.name), w.d.snapPath(h.ref.name)
	if err := errors.Join(w.f.Close(), os.Rename(from, to), syncDir(filepath.Dir(to))); err != nil {
		w.d.remove(to)
		return hand{}, fmt.Errorf("disk: completing a snapshot: %w", err)
	}
	w.f, w.err = nil, errEnded
	return h, nil
}

func appendEnd(b []byte, size uint64, crc uint32, header []byte) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, 0)
	at := len(b)
	b = be.AppendUint64(b, size)
	b = be.AppendUint32(b, crc)
	b = be.AppendUint32(b, uint32(len(header)))
	b = append(b, header...)
	return be.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// dropHands forgets the snapshots that were fetched before the adopted one.
func (d *Disk) dropHands() {
	i := slices.IndexFunc(d.hands, func(h hand) bool { return h.ref == d.rec.snap })
	for _, h := range d.hands[:i+1] {
		if h.ref != d.rec.snap {
			d.remove(d.snapPath(h.ref.name))
		}
	}
	d.hands = slices.Delete(d.hands, 0, i+1)
}

// SnapshotReader opens the riders' snapshot under the log. It hands out only
// bytes whose checksum it has seen; damage is a *CorruptError of Read.
// ErrNoSnapshot: the log begins at index 1.
func (d *Disk) SnapshotReader() (io.ReadCloser, ring.SnapshotHeader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rec.snap.name == "" {
		return nil, ring.SnapshotHeader{}, ErrNoSnapshot
	}
	f, err := openSnapshot(d.snapPath(d.rec.snap.name), d.dir, d.rec.snap)
	if err != nil {
		return nil, ring.SnapshotHeader{}, err
	}
	return f, d.rec.header, nil
}

// FetchedReader opens the snapshot that was fetched last, as SnapshotReader does.
func (d *Disk) FetchedReader() (io.ReadCloser, ring.SnapshotHeader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.hands) == 0 {
		return nil, ring.SnapshotHeader{}, ErrNoSnapshot
	}
	h := d.hands[len(d.hands)-1]
	header, err := ring.ParseHeader(h.header)
	if err != nil {
		return nil, header, fmt.Errorf("disk: the fetched snapshot: %w", err)
	}
	f, err := openSnapshot(d.snapPath(h.ref.name), d.dir, h.ref)
	if err != nil {
		return nil, header, err
	}
	return f, header, nil
}

// snapshotFile reads a snapshot file and names it in its errors.
type snapshotFile struct {
	f       *os.File
	r       *snapReader
	ref     snapRef
	corrupt func(error) error
}

func openSnapshot(path, dir string, ref snapRef) (*snapshotFile, error) {
	corrupt := func(err error) error {
		return &CorruptError{Dir: dir, File: path, What: err.Error(), Err: err}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt(err)
	}
	if err != nil {
		return nil, fmt.Errorf("disk: opening a snapshot: %w", err)
	}
	return &snapshotFile{f: f, r: newSnapReader(f), ref: ref, corrupt: corrupt}, nil
}

func (s *snapshotFile) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, errSnapshot):
		err = s.corrupt(err)
	case err == io.EOF && (s.r.size != s.ref.size || s.r.crc != s.ref.crc):
		err = s.corrupt(errors.New("it is another snapshot than the one that was written"))
	case err != io.EOF:
		err = fmt.Errorf("disk: reading a snapshot: %w", err)
	}
	return n, err
}

func (s *snapshotFile) Close() error { return s.f.Close() }

func verifySnapshot(path, dir string, ref snapRef) error {
	f, err := openSnapshot(path, dir, ref)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

var errSnapshot = errors.New("malformed snapshot")

// snapReader takes a snapshot file's bytes apart. It gives the bytes of a chunk
// only when their checksum was right, and io.EOF only when the end was.
type snapReader struct {
	r      *bufio.Reader
	begun  bool
	chunk  []byte // what is left of it
	buf    []byte
	size   uint64
	crc    uint32
	header []byte // after the end
	err    error
}

func newSnapReader(r io.Reader) *snapReader {
	return &snapReader{r: bufio.NewReaderSize(r, chunkSize), buf: make([]byte, chunkSize)}
}

func (s *snapReader) Read(p []byte) (int, error) {
	for len(s.chunk) == 0 && s.err == nil {
		s.err = s.next()
	}
	if len(s.chunk) == 0 {
		return 0, s.err
	}
	n := copy(p, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// fill reads exactly len(b) bytes.
func (s *snapReader) fill(b []byte) error {
	_, err := io.ReadFull(s.r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends too early", errSnapshot)
	}
	return err
}

// next reads the next chunk, or the end: then it returns io.EOF.
func (s *snapReader) next() error {
	if !s.begun {
		var m [len(snapMagic)]byte
		if err := s.fill(m[:]); err != nil {
			return err
		}
		if string(m[:]) != snapMagic {
			return fmt.Errorf("%w: it begins with %q", errSnapshot, m)
		}
		s.begun = true
	}
	var length [4]byte
	if err := s.fill(length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 {
		return s.end()
	}
	if n > chunkSize || s.size%chunkSize != 0 || s.size > MaxSnapshot {
		return fmt.Errorf("%w: a chunk of %d bytes at %d", errSnapshot, n, s.size)
	}
	var crc [4]byte
	if err := errors.Join(s.fill(crc[:]), s.fill(s.buf[:n])); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(crc[:]) != crc32.Checksum(s.buf[:n], castagnoli) {
		return fmt.Errorf("%w: wrong checksum at byte %d", errSnapshot, s.size)
	}
	s.chunk = s.buf[:n]
	s.size += uint64(n)
	s.crc = crc32.Update(s.crc, castagnoli, s.chunk)
	return nil
}

func (s *snapReader) end() error {
	var fixed [16]byte
	if err := s.fill(fixed[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(fixed[12:])
	if n > maxHeader {
		return fmt.Errorf("%w: a header of %d bytes", errSnapshot, n)
	}
	rest := make([]byte, n+4)
	if err := s.fill(rest); err != nil {
		return err
	}
	header := rest[:n]
	// The end must be, byte for byte, what would be written here.
	got := append(append(make([]byte, 4), fixed[:]...), rest...)
	if string(got) != string(appendEnd(nil, s.size, s.crc, header)) {
		return fmt.Errorf("%w: wrong checksum at its end", errSnapshot)
	}
	if _, err := ring.ParseHeader(header); err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if _, err := s.r.ReadByte(); err == nil {
		return fmt.Errorf("%w: bytes behind its end", errSnapshot)
	} else if err != io.EOF {
		return err
	}
	s.header = header
	return io.EOF
}
