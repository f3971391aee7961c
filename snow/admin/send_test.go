package admin

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rain/store"
)

// sendable is a body in memory, in a file, or in neither.
type sendable struct {
	io.ReaderAt
	bytes []byte
	file  *os.File
}

func (s sendable) Close() error   { return nil }
func (s sendable) Bytes() []byte  { return s.bytes }
func (s sendable) File() *os.File { return s.file }

var _ store.BodyReader = sendable{}

// TestSender sends ranges of each kind of body over a real connection, behind a
// header, and bodies that end too soon.
func TestSender(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, kind := range []string{"memory", "file", "neither"} {
		for _, r := range [][2]int64{{0, int64(len(whole))}, {7, 1}, {100, 2<<20 + 3}, {int64(len(whole)) - 5, 5}, {0, 0}} {
			got, n, err := sendOver(t, ln, bodyOf(t, kind, path, whole), r[0], r[1])
			want := append([]byte("head"), whole[r[0]:r[0]+r[1]]...)
			if err != nil || n != r[1] || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes from %d: %d came, %d told, %v", kind, r[1], r[0], len(got), n, err)
			}
		}
		if _, n, err := sendOver(t, ln, bodyOf(t, kind, path, whole), int64(len(whole))-5, 10); err == nil || n > 5 {
			t.Errorf("%s: a body that is too short: %d bytes, %v", kind, n, err)
		}
	}
}

func bodyOf(t *testing.T, kind, path string, whole []byte) sendable {
	t.Helper()
	s := sendable{ReaderAt: bytes.NewReader(whole)}
	switch kind {
	case "memory":
		s.bytes = whole
	case "file":
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		s.file = f
	}
	return s
}

func sendOver(t *testing.T, ln net.Listener, b sendable, off, n int64) (got []byte, sent int64, err error) {
	t.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, _ = io.ReadAll(client) // it ends with the connection
	}()
	c := &conn{Conn: raw, idle: 10 * time.Second}
	w := bufio.NewWriter(c)
	if _, err := w.WriteString("head"); err != nil {
		t.Fatal(err)
	}
	sent, err = (&objectSender{body: b, conn: c, off: off, n: n}).WriteTo(w)
	if ferr := w.Flush(); ferr != nil {
		t.Fatal(ferr)
	}
	if cerr := raw.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	<-done
	return got, sent, err
}
