package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes and returns the answers' statuses until the server closes.
func (r *rig) raw(text string, half bool) (statuses []int) {
	r.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		r.Fatal(err)
	}
	if half {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			r.Fatal(err)
		}
	}
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return statuses
		}
		statuses = append(statuses, res.StatusCode)
	}
}

// A body that ends early must not become an object.
func TestBodyCutShort(t *testing.T) {
	r := newRig(t, nil)
	head := "PUT /api/v1/objects/b/cut HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testToken + "\r\n"
	big := strings.Repeat("x", 2*prefetchBody)
	r.raw(head+"Content-Length: 200000\r\n\r\n"+big, true)
	r.raw(head+"Content-Length: 20\r\n\r\nhello", true)
	r.raw(head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true)
	if o, err := r.store.find("b", "cut"); err == nil {
		t.Errorf("a body cut short was stored, with %d bytes", o.Size)
	}
	if got := r.raw(head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false); len(got) != 1 || got[0] != 201 {
		t.Errorf("a whole chunked body = %v", got)
	}
}

// What is left of a body that nobody read must not be taken for a request.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	r := newRig(t, nil)
	hidden := "DELETE /api/v1/objects/b/victim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testToken + "\r\n\r\n"
	r.want(201, "PUT", "/api/v1/objects/b/victim", "x")
	pad := strings.Repeat("y", prefetchBody)
	for _, auth := range []string{"", "Authorization: Bearer " + testToken + "\r\n"} {
		got := r.raw("POST /api/v1/status HTTP/1.1\r\nHost: x\r\n"+auth+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(pad)+len(hidden))+pad+hidden, false)
		if len(got) != 1 {
			t.Errorf("%d answers to one request: %v", len(got), got)
		}
	}
	if _, err := r.store.find("b", "victim"); err != nil {
		t.Error("a request inside a body was carried out")
	}
}

func TestExpectContinueAsksFirst(t *testing.T) {
	r := newRig(t, nil)
	got := r.raw("PUT /api/v1/objects/b/e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", false)
	if len(got) != 1 || got[0] != 401 {
		t.Errorf("without a token: %v, want 401 before the body", got)
	}
}

func TestMalformed(t *testing.T) {
	r := newRig(t, nil)
	for text, want := range map[string]int{
		"GARBAGE\r\n\r\n": 400,
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 2*maxHeader) + "\r\n\r\n":            431,
		"GET /" + strings.Repeat("a", maxURI+1) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": 414,
	} {
		if got := r.raw(text, false); len(got) != 1 || got[0] != want {
			t.Errorf("%.30q = %v, want %d", text, got, want)
		}
	}
}

func TestSilentClientIsDropped(t *testing.T) {
	r := newRig(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	got := r.raw("PUT /api/v1/objects/b/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+testToken+"\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", prefetchBody+1), false)
	if len(got) != 1 || got[0] != 408 {
		t.Errorf("a client that stops in its body gets %v, want 408", got)
	}
}

func TestConfigNamesAllFaults(t *testing.T) {
	err := Config{Token: "short"}.Validate()
	for _, want := range []string{"node", "token", "op_timeout", "idle_timeout", "max_conns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v; it does not name %s", err, want)
		}
	}
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		s          string
		size       int64
		off, n     int64
		wantStatus int
	}{
		{"bytes=0-0", 10, 0, 1, 206}, {"bytes=3-99", 10, 3, 7, 206}, {"bytes=-3", 10, 7, 3, 206}, {"bytes=-99", 10, 0, 10, 206},
		{"bytes=9-", 10, 9, 1, 206}, {"bytes=10-", 10, 0, 0, 416}, {"bytes=-0", 10, 0, 0, 416}, {"bytes=0-", 0, 0, 0, 416},
		{"bytes=5-3", 10, 0, 10, 200}, {"bytes=a-b", 10, 0, 10, 200}, {"items=0-1", 10, 0, 10, 200}, {"bytes=0-1,3-4", 10, 0, 10, 200},
		{"bytes=99999999999999999999-", 10, 0, 0, 416}, {"bytes=0-99999999999999999999", 10, 0, 10, 206}, {"bytes=+1-2", 10, 0, 10, 200},
	} {
		if off, n, st := parseRange(c.s, c.size); off != c.off || n != c.n || st != c.wantStatus {
			t.Errorf("parseRange(%q, %d) = %d, %d, %d", c.s, c.size, off, n, st)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=99999999999999999999-", int64(1))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		size &= 1<<62 - 1
		off, n, status := parseRange(s, size)
		if off < 0 || n < 0 || off+n > size || status == 206 && n == 0 {
			t.Fatalf("parseRange(%q, %d) = %d, %d, %d", s, size, off, n, status)
		}
	})
}

func FuzzMatches(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Add(`*`, `"x"`)
	f.Fuzz(func(t *testing.T, list, etag string) {
		if matches(list, etag, true) && !matches(list, etag, false) {
			t.Fatalf("%q matches %q strongly but not weakly", list, etag)
		}
	})
}

func FuzzPresented(f *testing.F) {
	f.Add([]byte("Bearer x"))
	f.Add([]byte("Basic YWRtaW46eA=="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tok, ok := presented(b); ok && len(tok) > len(b) {
			t.Fatalf("token longer than the header %q", b)
		}
	})
}
