package video

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rain/video/film"
)

func TestServe(t *testing.T) {
	s, _ := newServer(t, true)
	b := demoFilm(t)
	f := add(t, s, "demo", b)
	tag := f.Tag()
	if err := s.Attach(t.Context(), "demo", "poster", strings.NewReader("\xff\xd8\xff and so on")); err != nil {
		t.Fatal(err)
	}
	m, err := film.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/video", 301, ""},
		{"GET", "/video/", 200, `<a href="/video/demo/">`},
		{"GET", "/video/demo", 301, ""},
		{"GET", "/video/demo/", 200, `src="/video/-/player.js?v=`},
		{"GET", "/video/demo/index.m3u8", 200, "media.m3u8?v=" + tag},
		{"GET", "/video/demo/media.m3u8", 200, "seg-29.m4s?v=" + tag},
		{"GET", "/video/demo/init.mp4?v=" + tag, 200, "moov"},
		{"GET", "/video/demo/seg-0.m4s", 200, "mdat"},
		{"HEAD", "/video/demo/seg-0.m4s", 200, ""},
		{"GET", "/video/demo/film.mp4", 200, "mdat"},
		{"GET", "/video/demo/film.json", 200, `"hosts":["127.0.1.1:8080"`},
		{"GET", "/video/demo/poster.jpg", 200, "and so on"},
		{"GET", "/video/demo/captions.vtt", 404, ""},
		{"GET", "/video/demo/seg-0.m4s?v=000000000000", 410, ""},
		{"GET", "/video/demo/seg-30.m4s", 404, ""},
		{"GET", "/video/demo/seg-01.m4s", 404, ""},
		{"GET", "/video/demo/seg--1.m4s", 404, ""},
		{"GET", "/video/demo/0.m4s", 404, ""},
		{"GET", "/video/demo/index", 404, ""},
		{"GET", "/video/none/", 404, ""},
		{"GET", "/video/none", 404, ""},
		{"GET", "/video/-/player.js", 200, "js"},
		{"GET", "/video/-/.gitignore", 404, ""},
		{"POST", "/video/demo/", 405, ""},
		{"OPTIONS", "/video/demo/seg-0.m4s", 204, ""},
	} {
		res := get(t, s, c.method, c.path)
		if res.StatusCode() != c.code || !strings.Contains(string(res.Body()), c.says) {
			t.Errorf("%s %s: %d %.200q, want %d %q", c.method, c.path, res.StatusCode(), res.Body(), c.code, c.says)
		}
	}
	for n := range f.Segments() {
		seg, err := m.Segment(&f.Index, n)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(seg.Header)
		for _, p := range seg.Parts {
			want = append(want, b[p.Offset:p.Offset+p.Length]...)
		}
		if got := get(t, s, "GET", "/video/demo/seg-"+strconv.Itoa(n)+".m4s").Body(); !bytes.Equal(got, want) {
			t.Errorf("segment %d: %d bytes, want %d", n, len(got), len(want))
		}
	}
	res := get(t, s, "GET", "/video/demo/film.mp4", "Range: bytes=1000-1999")
	if res.StatusCode() != 206 || !bytes.Equal(res.Body(), b[1000:2000]) {
		t.Errorf("a range of the film: %d, %d bytes", res.StatusCode(), len(res.Body()))
	}
	_, etag, _ := strings.Cut(get(t, s, "GET", "/video/demo/seg-3.m4s").Header.String(), "ETag: ")
	etag, _, _ = strings.Cut(etag, "\r")
	if res := get(t, s, "GET", "/video/demo/seg-3.m4s", "If-None-Match: "+etag); res.StatusCode() != 304 {
		t.Errorf("a segment that the client has: %d", res.StatusCode())
	}
	if res := get(t, s, "GET", "/video/-/player.js", "Accept-Encoding: gzip"); string(res.Body()) != "z" || string(res.Header.ContentEncoding()) != "gzip" {
		t.Errorf("the player with gzip: %q", res.Body())
	}
	csp := string(get(t, s, "GET", "/video/demo/").Header.Peek("Content-Security-Policy"))
	if !strings.Contains(csp, "script-src 'self' http://127.0.1.1:8080 http://127.0.1.2:8080;") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "connect-src 'self' http://127.0.1.1:8080 http://127.0.1.2:8080;") || strings.Contains(csp, "evil") {
		t.Error(csp)
	}
}

// Without npm there is no player, and the page says so and plays the file.
func TestUnbuilt(t *testing.T) {
	s, _ := newServer(t, false)
	add(t, s, "demo", demoFilm(t))
	page := string(get(t, s, "GET", "/video/demo/").Body())
	if !strings.Contains(page, "built without its player") || !strings.Contains(page, `src="film.mp4"`) || strings.Contains(page, "<script") {
		t.Error(page)
	}
}

func TestReplaceAndRemove(t *testing.T) {
	s, sh := newServer(t, true)
	b := demoFilm(t)
	first := add(t, s, "a", b)
	// The same film with another byte in its padding of nothing: the last sample.
	c := slices.Clone(b)
	c[len(c)-1] ^= 1
	f, created, err := s.Add(t.Context(), "a", bytes.NewReader(c), -1)
	if err != nil || created || f.SHA256 == first.SHA256 {
		t.Fatalf("replacing: %v, created %t", err, created)
	}
	if got := sh.keys(); !slices.Equal(got, []string{"a/film.ID2", "a/index"}) {
		t.Errorf("after a replacement the store has %v", got)
	}
	if res := get(t, s, "GET", "/video/a/seg-0.m4s?v="+first.Tag()); res.StatusCode() != 410 {
		t.Errorf("a segment of the replaced film: %d", res.StatusCode())
	}
	if res := get(t, s, "GET", "/video/a/seg-0.m4s?v="+f.Tag()); res.StatusCode() != 200 {
		t.Errorf("a segment of the new film: %d", res.StatusCode())
	}
	if list, err := s.Films(t.Context()); err != nil || len(list) != 1 || list[0].Name != "a" {
		t.Errorf("films: %v %v", list, err)
	}
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := sh.keys(); len(got) != 0 {
		t.Errorf("after a removal the store has %v", got)
	}
	if err := s.Remove(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing it again: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	s, sh := newServer(t, true)
	b := demoFilm(t)
	for name, want := range map[string]error{"": ErrBadName, "-": ErrBadName, "a/b": ErrBadName, ".x": ErrBadName, strings.Repeat("x", 65): ErrBadName} {
		if _, _, err := s.Add(t.Context(), name, bytes.NewReader(b), -1); !errors.Is(err, want) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, _, err := s.Add(t.Context(), "a", strings.NewReader("no film"), -1); !errors.Is(err, film.ErrUnfit) {
		t.Errorf("no film: %v", err)
	}
	if got := sh.keys(); len(got) != 0 {
		t.Errorf("what was refused left %v", got)
	}
	add(t, s, "a", b)
	if _, _, err := s.Add(t.Context(), "a", strings.NewReader("no film"), -1); !errors.Is(err, film.ErrUnfit) {
		t.Errorf("no film in place of one: %v", err)
	}
	if res := get(t, s, "GET", "/video/a/seg-0.m4s"); res.StatusCode() != 200 {
		t.Errorf("after a refused replacement: %d", res.StatusCode())
	}
	for what, body := range map[string]string{"poster": "GIF89a", "captions": "hello", "other": "WEBVTT"} {
		if err := s.Attach(t.Context(), "a", what, strings.NewReader(body)); !errors.Is(err, ErrBadExtra) {
			t.Errorf("%s %q: %v", what, body, err)
		}
	}
	if err := s.Attach(t.Context(), "b", "poster", strings.NewReader("\xff\xd8\xff")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a poster for no film: %v", err)
	}
}

// Large segments are read while they are sent: any range of one is what the
// whole has there.
func TestSegmentBody(t *testing.T) {
	b := demoFilm(t)
	s, sh := newServer(t, true)
	f := add(t, s, "a", b)
	m, err := film.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	seg, err := m.Segment(&f.Index, 7)
	if err != nil {
		t.Fatal(err)
	}
	o, err := sh.Open(t.Context(), Bucket, "a/film.ID1")
	if err != nil {
		t.Fatal(err)
	}
	body := &segmentBody{size: seg.Size, seg: seg, film: o.Body}
	whole, err := body.whole()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off := rng.Int64N(seg.Size + 10)
		p := make([]byte, rng.IntN(30000))
		n, err := body.ReadAt(p, off)
		want := whole[min(off, seg.Size):min(off+int64(len(p)), seg.Size)]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) {
			t.Fatalf("ReadAt of %d bytes at %d of %d: %d, %v", len(p), off, seg.Size, n, err)
		}
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCuts(t *testing.T) {
	c := cuts{limit: 100}
	for n := range 20 {
		c.put(cutKey{"s", n}, make([]byte, 20))
	}
	c.put(cutKey{"s", 99}, make([]byte, 60)) // a quarter is the most for one
	if c.bytes != 100 || len(c.byKey) != 5 || c.get(cutKey{"s", 19}) == nil || c.get(cutKey{"s", 0}) != nil || c.get(cutKey{"s", 99}) != nil {
		t.Errorf("%d bytes in %d segments", c.bytes, len(c.byKey))
	}
}
