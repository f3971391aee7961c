package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

func FuzzRequest(f *testing.F) {
	for k := byte(kindSmall); k <= kindLack; k++ {
		f.Add(request{kind: k, size: 5}.append(nil))
	}
	f.Add(request{kind: kindStream, size: unknownSize}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRequest(b); err == nil && !bytes.Equal(r.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, r.append(nil))
		}
	})
}

// FuzzFrames throws bytes at the reader of streams: it must end, and accept
// only what is whole.
func FuzzFrames(f *testing.F) {
	body := []byte("hello")
	good := binary.BigEndian.AppendUint32(nil, 5)
	good = append(append(append(good, body...), 0, 0, 0, 0), sumOf(body)...)
	f.Add(good, int64(5))
	f.Add(good[:20], int64(-1))
	f.Add([]byte{255, 255, 255, 255}, int64(-1))
	s := &Store{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, b []byte, want int64) {
		var out bytes.Buffer
		r := bytes.NewReader(b)
		sum, n, err := s.readFrames(r, r, &out, want)
		if err != nil {
			return
		}
		if !bytes.Equal(sum[:], sumOf(out.Bytes())) || n != int64(out.Len()) || want >= 0 && n != want {
			t.Fatalf("accepted %d bytes with hash %s", n, sum)
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
