package snow

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/valyala/fasthttp"
)

func mountedHandler(ctx *fasthttp.RequestCtx) {
	if string(ctx.Path()) == "/mounted/panic" {
		panic("on purpose")
	}
	fmt.Fprintf(ctx, "%s %s %s", ctx.Method(), ctx.Path(), ctx.PostBody())
}

const day = "Sun, 01 Mar 2026 12:00:00 GMT"

func TestFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	for _, tc := range []struct {
		target   string
		code     int
		body     string
		header   string
		contains string
	}{
		{"/", 200, "<h1>home</h1>", "Content-Type", "text/html; charset=utf-8"},
		{"/a.txt", 200, alphabet, "Last-Modified", day},
		{"/a.txt?x=1", 200, alphabet, "Accept-Ranges", "bytes"},
		{"http://a.test/a.txt", 200, alphabet, "Server", "rain"},
		{"/empty.txt", 200, "", "Content-Length", "0"},
		{"/docs", 301, "", "Location", "/docs/"},
		{"/docs?q=1", 301, "", "Location", "/docs/?q=1"},
		{"//docs", 301, "", "Location", "/docs/"},
		{"/docs/", 200, "docs", "X-Content-Type-Options", "nosniff"},
		{"/docs/%C3%BC%20x.txt", 200, "umlaut", "X-Rain-Node", "n1"},
		{"/./docs//../a.txt", 200, alphabet, "", ""},
		{"/docs/..", 200, "<h1>home</h1>", "", ""},
		{"/docs%2Findex.html", 200, "docs", "", ""},
		{"/../a.txt", 400, "", "Connection", "close"},
		{"/%2e%2e/a.txt", 400, "", "", ""},
		{"/%zz", 400, "", "", ""},
		{"/%00", 400, "", "", ""},
		{"/a.txt/", 404, "lost here", "", ""},
		{"/none", 404, "lost here", "Content-Type", "text/html; charset=utf-8"},
		{"/folder.d", 404, "lost here", "", ""},
		{"/mounted/x", 200, "GET /mounted/x ", "", ""},
		{"/mounted/panic", 500, "", "Connection", "close"},
		{"/mountedx", 404, "lost here", "", ""},
	} {
		a := r.get(tc.target)
		if a.StatusCode != tc.code || tc.body != "" && a.body != tc.body || tc.header != "" && a.Header.Get(tc.header) != tc.contains && !(tc.header == "Connection" && a.Close) {
			t.Errorf("%s: %d %v %q, want %d %s=%q %q", tc.target, a.StatusCode, a.Header, a.body, tc.code, tc.header, tc.contains, tc.body)
		}
	}
	for _, name := range []string{"/mid.bin", "/big.bin", "/big.bin"} {
		if a := r.get(name); a.body != string(testSite()[name[1:]].Data) {
			t.Errorf("%s: %d bytes came wrong", name, len(a.body))
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ask := func(host string) answer {
		c := r.dial(r.own)
		defer c.Close()
		c.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		return c.read("GET")
	}
	if a := ask("a.test"); a.StatusCode != 421 {
		t.Errorf("no site at all: %d", a.StatusCode)
	}
	page := func(s string) fstest.MapFS { return fstest.MapFS{"index.html": {Data: []byte(s)}} }
	r.publish("a.test", page("A"), false)
	if a := ask("b.test"); a.StatusCode != 421 {
		t.Errorf("no default site: %d", a.StatusCode)
	}
	r.publish("b.test", page("B"), true)
	for host, want := range map[string]string{
		"a.test": "A", "A.TEST.": "A", "a.test:8080": "A", "b.test": "B", "other": "B", "127.0.0.1:80": "B", "[::1]:80": "B", "_default": "B",
	} {
		if a := ask(host); a.body != want {
			t.Errorf("host %q: %d %q, want %q", host, a.StatusCode, a.body, want)
		}
	}
	for _, host := range []string{"", "a/b", "a.test:x", "a b", "[::1", "a.test:123456"} {
		if a := ask(host); a.StatusCode != 400 {
			t.Errorf("host %q: %d, want 400", host, a.StatusCode)
		}
	}
	if err := r.pub.Remove(context.Background(), "b.test"); err != nil {
		t.Fatal(err)
	}
	if a := ask("b.test"); a.StatusCode != 421 {
		t.Errorf("after its removal: %d %q", a.StatusCode, a.body)
	}
}

func TestConditionals(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	tag := r.get("/a.txt").Header.Get("Etag")
	if !strings.HasPrefix(tag, `"`) {
		t.Fatalf("ETag %q", tag)
	}
	const earlier, later = "Sun, 01 Mar 2026 11:59:59 GMT", "Sun, 01 Mar 2026 12:00:01 GMT"
	for _, tc := range []struct {
		headers []string
		code    int
	}{
		{[]string{"If-None-Match: " + tag}, 304},
		{[]string{"If-None-Match: W/" + tag}, 304},
		{[]string{`If-None-Match: "x", ` + tag}, 304},
		{[]string{"If-None-Match: *"}, 304},
		{[]string{`If-None-Match: "x"`}, 200},
		{[]string{`If-None-Match: "x"`, "If-Modified-Since: " + later}, 200}, // the tag goes first
		{[]string{"If-Modified-Since: " + day}, 304},
		{[]string{"If-Modified-Since: " + later}, 304},
		{[]string{"If-Modified-Since: Sunday, 01-Mar-26 12:00:01 GMT"}, 304},
		{[]string{"If-Modified-Since: Sun Mar  1 12:00:01 2026"}, 304},
		{[]string{"If-Modified-Since: " + earlier}, 200},
		{[]string{"If-Modified-Since: yesterday"}, 200},
		{[]string{"If-Match: " + tag}, 200},
		{[]string{"If-Match: *"}, 200},
		{[]string{"If-Match: W/" + tag}, 412},
		{[]string{`If-Match: "x"`}, 412},
		{[]string{`If-Match: "x"`, "If-None-Match: " + tag}, 412},
		{[]string{"If-Match: " + tag, "If-Unmodified-Since: " + earlier}, 200},
		{[]string{"If-Match: " + tag, "If-None-Match: " + tag}, 304},
		{[]string{"If-Unmodified-Since: " + earlier}, 412},
		{[]string{"If-Unmodified-Since: " + day}, 200},
		{[]string{"Range: bytes=0-0", "If-Range: " + tag}, 206},
		{[]string{"Range: bytes=0-0", "If-Range: W/" + tag}, 200},
		{[]string{"Range: bytes=0-0", `If-Range: "x"`}, 200},
		{[]string{"Range: bytes=0-0", "If-Range: " + day}, 206},
		{[]string{"Range: bytes=0-0", "If-Range: " + later}, 200},
		{[]string{"Range: bytes=99-", `If-Range: "x"`}, 200},
		{[]string{"Range: bytes=0-0", "If-None-Match: " + tag}, 304},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			want := tc.code
			if method == "HEAD" && want == 206 {
				want = 200 // a range is for GET only
			}
			a := r.ask(method, "/a.txt", tc.headers...)
			if a.StatusCode != want {
				t.Errorf("%s %q: %d, want %d", method, tc.headers, a.StatusCode, want)
			}
			if a.StatusCode == 304 && (a.body != "" || a.Header.Get("Etag") != tag || a.Header.Get("Last-Modified") != day) {
				t.Errorf("%q: a 304 with %v %q", tc.headers, a.Header, a.body)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	for _, tc := range []struct {
		spec string
		code int
		cr   string
		body string
	}{
		{"bytes=0-0", 206, "bytes 0-0/26", "a"},
		{"bytes=23-", 206, "bytes 23-25/26", "xyz"},
		{"bytes=-2", 206, "bytes 24-25/26", "yz"},
		{"bytes=-99", 206, "bytes 0-25/26", alphabet},
		{"bytes=20-99999999999999999999", 206, "bytes 20-25/26", "uvwxyz"},
		{"bytes=26-", 416, "bytes */26", ""},
		{"bytes=-0", 416, "bytes */26", ""},
		{"bytes=0-4,3-7,8-9", 206, "bytes 0-9/26", "abcdefghij"},
		{"bytes=0-1,99-", 206, "bytes 0-1/26", "ab"},
		{"bytes=5-2", 200, "", alphabet},
		{"bytes=x", 200, "", alphabet},
		{"bytes=", 200, "", alphabet},
		{"items=0-1", 200, "", alphabet},
		{"bytes=" + strings.Repeat("0-0,", 17), 200, "", alphabet},
	} {
		a := r.get("/a.txt", "Range: "+tc.spec)
		if a.StatusCode != tc.code || a.Header.Get("Content-Range") != tc.cr || tc.body != "" && a.body != tc.body {
			t.Errorf("%s: %d %q %q", tc.spec, a.StatusCode, a.Header.Get("Content-Range"), a.body)
		}
	}
	for _, name := range []string{"mid.bin", "big.bin"} {
		all := string(testSite()[name].Data)
		if a := r.get("/"+name, "Range: bytes=10001-20002"); a.StatusCode != 206 || a.body != all[10001:20003] {
			t.Errorf("%s: %d, %d bytes", name, a.StatusCode, len(a.body))
		}
	}
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	for _, name := range []string{"a.txt", "mid.bin", "big.bin"} {
		all := string(testSite()[name].Data)
		a := r.get("/"+name, "Range: bytes=20-22, 2-5, -1")
		kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/byteranges" || a.StatusCode != 206 || a.Header.Get("Content-Range") != "" {
			t.Fatalf("%s: %d %v %v", name, a.StatusCode, a.Header, err)
		}
		mr := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
		n := len(all)
		for _, want := range [][2]int{{2, 6}, {20, 23}, {n - 1, n}} {
			p, err := mr.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(p)
			cr := fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, n)
			if err != nil || string(b) != all[want[0]:want[1]] || p.Header.Get("Content-Range") != cr {
				t.Errorf("%s: part %q %v, want %s", name, b, p.Header, cr)
			}
		}
		if _, err := mr.NextPart(); err != io.EOF {
			t.Errorf("%s: after the last part: %v", name, err)
		}
		if again := r.get("/"+name, "Range: bytes=20-22, 2-5, -1"); again.body != a.body {
			t.Errorf("%s: equal requests gave other bytes", name)
		}
	}
}

func TestSidecars(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	tags := map[string]string{}
	for _, tc := range []struct{ accept, coding, body string }{
		{"", "", strings.Repeat("body{} ", 30)},
		{"gzip", "gzip", "GZIP!"},
		{"gzip, br, zstd", "br", "BR"},
		{"gzip;q=0.9, br;q=0.1, zstd;q=0.5", "gzip", "GZIP!"},
		{"br;q=0, *", "zstd", "ZSTD"},
		{"identity, br;q=0.5", "", strings.Repeat("body{} ", 30)},
		{"deflate", "", strings.Repeat("body{} ", 30)},
		{"*;q=0", "", strings.Repeat("body{} ", 30)},
		{"br;q=2", "", strings.Repeat("body{} ", 30)},
	} {
		a := r.get("/style.css", "Accept-Encoding: "+tc.accept)
		h := a.Header
		if a.body != tc.body || h.Get("Content-Encoding") != tc.coding || h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Type") != "text/css; charset=utf-8" {
			t.Errorf("%q: %v %q", tc.accept, h, a.body)
		}
		if old, ok := tags[tc.coding]; ok && old != h.Get("Etag") {
			t.Errorf("%q: two ETags of one coding", tc.accept)
		}
		tags[tc.coding] = h.Get("Etag")
		if a := r.get("/style.css", "Accept-Encoding: "+tc.accept, "If-None-Match: "+h.Get("Etag")); a.StatusCode != 304 || a.Header.Get("Vary") == "" {
			t.Errorf("%q: not 304 but %d %v", tc.accept, a.StatusCode, a.Header)
		}
	}
	if len(tags) != 4 {
		t.Errorf("codings share ETags: %v", tags)
	}
	if a := r.get("/a.txt", "Accept-Encoding: br"); a.Header.Get("Vary") != "" {
		t.Error("Vary without sidecars")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	get := r.get("/a.txt")
	head := r.ask("HEAD", "/a.txt")
	for _, k := range []string{"Content-Length", "Content-Type", "Etag", "Last-Modified", "Accept-Ranges"} {
		if head.Header.Get(k) != get.Header.Get(k) || get.Header.Get(k) == "" {
			t.Errorf("%s: HEAD %q, GET %q", k, head.Header.Get(k), get.Header.Get(k))
		}
	}
	if a := r.ask("HEAD", "/big.bin"); a.ContentLength != 1<<20 {
		t.Errorf("HEAD of a large file: %d", a.ContentLength)
	}
	for _, target := range []string{"*", "/a.txt"} {
		if a := r.ask("OPTIONS", target); a.StatusCode != 204 || a.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("OPTIONS %s: %d %v", target, a.StatusCode, a.Header)
		}
	}
	for _, m := range []string{"POST", "PUT", "DELETE", "TRACE", "PATCH", "BREW"} {
		if a := r.ask(m, "/a.txt", "Content-Length: 0"); a.StatusCode != 405 || a.Header.Get("Allow") == "" {
			t.Errorf("%s: %d", m, a.StatusCode)
		}
	}
	c := r.dial(r.own)
	c.send("POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
	if a := c.read("POST"); a.body != "POST /mounted/x hello" {
		t.Errorf("mounted: %q", a.body)
	}
}

func TestIsolatedSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	if a := r.get("/"); a.Header.Get("X-Rain-State") != "" {
		t.Error("isolated, but it is not")
	}
	r.cluster.isolated.Store(true)
	for _, target := range []string{"/", "/none", "/mounted/x"} {
		if a := r.get(target); a.Header.Get("X-Rain-State") != "isolated" || a.StatusCode == http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v", target, a.StatusCode, a.Header)
		}
	}
}
