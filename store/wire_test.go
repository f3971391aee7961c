package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

func FuzzRequest(f *testing.F) {
	for _, k := range []byte{kindSmall, kindGet, kindLack, kindColumn, kindUnits} {
		f.Add(request{kind: k, size: 5}.append(nil))
	}
	f.Add(request{kind: kindColumn, size: unknownSize}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRequest(b); err == nil && !bytes.Equal(r.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, r.append(nil))
		}
	})
}

// FuzzColumn throws bytes at the reader of columns: it must end, and take only
// what is whole.
func FuzzColumn(f *testing.F) {
	code := array.Geometry{N: 3, K: 2, Unit: 8}
	var good []byte
	for i, u := range []string{"12345678", "123"} {
		good = append(binary.BigEndian.AppendUint32(good, uint32(len(u))), u...)
		good = binary.BigEndian.AppendUint32(good, symbol.Checksum([]byte(u), 2, int64(i)))
	}
	good = columnEnd{catalog.Sum{1}, catalog.Sum{2}, 22}.append(good)
	f.Add(good)
	f.Add(good[:20])
	f.Add(bytes.Repeat([]byte{255}, 30))
	cfg := DefaultConfig()
	cfg.Dir = f.TempDir()
	s := &Store{cfg: cfg}
	var err error
	if s.disk, err = openDisk(osFS{}, cfg.Dir, 0); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &columnWriter{s: s, code: code, column: 2}
		defer w.discard()
		r := bytes.NewReader(b)
		end, err := s.readColumn(r, r, w)
		if err != nil {
			return
		}
		if !end.known() || end.size < 1 || w.blocks > int64(len(b)) {
			t.Fatalf("accepted %d units, end %+v", w.blocks, end)
		}
	})
}

func FuzzStripeHead(f *testing.F) {
	f.Add(stripeHead{array.Auto(4), 3}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseStripeHead(b); err == nil && !bytes.Equal(h.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, h.append(nil))
		}
	})
}

// TestHandlersSurviveGarbage throws bytes at each service of a living node.
func TestHandlersSurviveGarbage(t *testing.T) {
	c := newCluster(t, 1)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	mustPut(t, n, "k", []byte("body"), PutOptions{})
	truncated := append(request{kind: kindSmall, size: 100}.append(nil), "short"...)
	wrong := append(request{kind: kindSmall, size: 5}.append(nil), "short"...)
	for name, h := range n.handle {
		for i, msg := range [][]byte{{}, {1}, bytes.Repeat([]byte{0xff}, 200), bytes.Repeat([]byte{1}, 200), truncated, wrong} {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() { defer close(done); defer theirs.Close(); h(context.Background(), 9, theirs) }()
			_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
			go func() { _, _ = ours.Write(msg); time.Sleep(20 * time.Millisecond); ours.Close() }()
			_, _ = io.Copy(io.Discard, ours)
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, message %d: the handler hangs", name, i)
			}
		}
	}
	noLeftovers(t, n)
	if got := readAll(t, n, "k"); string(got) != "body" {
		t.Errorf("after garbage the body is %q", got)
	}
}
