package film

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"testing"
)

// sparse is a file of size bytes that begins with head and goes on with zeros.
type sparse struct {
	head []byte
	size int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off >= s.size {
		return 0, io.EOF
	}
	if off < int64(len(s.head)) {
		copy(p, s.head[off:])
	}
	if n := s.size - off; n < int64(len(p)) {
		return int(n), io.EOF
	}
	return len(p), nil
}

// Whatever a file says: Parse refuses it, or each segment can be cut and lies
// within the file.
func FuzzParse(f *testing.F) {
	tiny, err := os.ReadFile("testdata/tiny.mp4") // 5 s of 32 x 32, made by ffmpeg
	if err != nil {
		f.Fatal(err)
	}
	moov, err := findMoov(bytes.NewReader(tiny), int64(len(tiny)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tiny[:moov.end], int64(len(tiny)))
	f.Add([]byte("\x00\x00\x00\x0cftypisom\x00\x00\x00\x08moov"), int64(20))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		if size < int64(len(head)) || size > 1<<40 {
			return
		}
		m, err := Parse(sparse{head, size}, size)
		if err != nil {
			return
		}
		x, err := NewIndex(m, "0000000000000000000000000000000000000000000000000000000000000000")
		if err != nil {
			return
		}
		for n := range min(x.Segments(), 50) {
			s, err := m.Segment(x, n)
			if err != nil {
				t.Fatalf("segment %d of a film that was taken: %v", n, err)
			}
			sum := int64(len(s.Header))
			for _, p := range s.Parts {
				if p.Offset < 0 || p.Length <= 0 || p.Offset+p.Length > size {
					t.Fatalf("segment %d takes %d bytes at %d of a file of %d", n, p.Length, p.Offset, size)
				}
				sum += p.Length
			}
			if sum != s.Size {
				t.Fatalf("segment %d has %d bytes and says %d", n, sum, s.Size)
			}
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	_, x := open(f, demo(f))
	raw, err := x.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":1,"sha256":"","cuts":[0],"starts":[0,1]}`))
	m, _ := open(f, demo(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseIndex(b)
		if err != nil {
			return
		}
		raw, err := x.Encode()
		if err != nil {
			t.Fatal(err)
		}
		y, err := ParseIndex(raw)
		if err != nil || !reflect.DeepEqual(x, y) {
			t.Fatalf("written and read again it differs: %v", err)
		}
		x.Media(func(int) string { return "s" })
		for n := range min(x.Segments(), 20) {
			_, _ = m.Segment(x, n) // of another film: refused or cut, never a panic
		}
	})
}
