package video

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"rain/video/session"
)

// audience writes down what it hears of viewers.
type audience struct {
	mu   sync.Mutex
	hits []session.Hit
	sent map[session.ID]int64
	at   map[session.ID][]uint32
}

func (a *audience) Watch(h session.Hit) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hits = append(a.hits, h)
	return 7
}

func (a *audience) Sent(id session.ID, seeks, position uint32, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seeks == 7 {
		a.sent[id] += n
		a.at[id] = append(a.at[id], position)
	}
}

func watchedServer(t *testing.T) (*Server, *audience) {
	s, _ := newServer(t, true)
	a := &audience{sent: map[session.ID]int64{}, at: map[session.ID][]uint32{}}
	s.deps.Viewers = a
	return s, a
}

// A player that follows the playlists has one session in all that it asks for,
// without a cookie, whichever node answers.
func TestPlaylistsCarryTheSession(t *testing.T) {
	s, a := watchedServer(t)
	add(t, s, "demo", demoFilm(t))
	master := get(t, s, "GET", "/video/demo/index.m3u8")
	text := string(master.Body())
	_, media, _ := strings.Cut(text, "media.m3u8?")
	media, _, _ = strings.Cut(media, "\n")
	_, who, _ := strings.Cut(media, "s=")
	id, ok := session.ParseID([]byte(who))
	if !ok || string(master.Header.Peek("Cache-Control")) != "no-store" {
		t.Fatalf("a first request: %s, session %q", master.Header.String(), who)
	}
	if again := string(get(t, s, "GET", "/video/demo/index.m3u8").Body()); again == text {
		t.Error("two viewers got one session")
	}
	if kept := string(get(t, s, "GET", "/video/demo/index.m3u8?s="+who).Body()); kept != text {
		t.Errorf("a session that is named is not kept: %s", kept)
	}
	bad := string(get(t, s, "GET", "/video/demo/index.m3u8?s=%3Cscript%3Eaaaaaaa").Body())
	if strings.Contains(bad, "script") {
		t.Errorf("what a stranger sent is in the playlist: %s", bad)
	}
	list := get(t, s, "GET", "/video/demo/media.m3u8?"+media)
	var segments []string
	for line := range strings.Lines(string(list.Body())) {
		if strings.HasPrefix(line, "seg-") {
			segments = append(segments, strings.TrimSpace(line))
		}
	}
	if len(segments) != 30 || !strings.HasSuffix(segments[3], "&s="+who) || string(list.Header.Peek("Cache-Control")) != forGood {
		t.Fatalf("segments %v, %s", segments, list.Header.String())
	}
	total := int64(0)
	for _, seg := range segments[:4] {
		total += int64(len(get(t, s, "GET", "/video/demo/"+seg).Body()))
		get(t, s, "HEAD", "/video/demo/"+seg)
	}
	var at []uint32
	for _, h := range a.hits {
		at = append(at, h.Position)
		if h.ID != id || h.Film != "demo" || h.Rendition != "hls" {
			t.Errorf("%+v", h)
		}
	}
	if !slices.Equal(at, []uint32{0, 2000, 4000, 6000}) || a.hits[3].Slack != 2001 {
		t.Errorf("positions %v, slack %d", at, a.hits[3].Slack)
	}
	if a.sent[id] != total || len(a.sent) != 1 {
		t.Errorf("%v sent, the segments have %d bytes", a.sent, total)
	}
}

// One file: the cookie of the first answer, else the connection, names the
// session, and the position is the share of the bytes.
func TestFileHasASession(t *testing.T) {
	s, a := watchedServer(t)
	b := demoFilm(t)
	f := add(t, s, "demo", b)
	ln := fasthttputil.NewInmemoryListener()
	web := &fasthttp.Server{Handler: s.Handle}
	done := make(chan error, 1)
	go func() { done <- web.Serve(ln) }()
	t.Cleanup(func() {
		if err := web.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := &fasthttp.HostClient{Addr: "demo", Dial: func(string) (net.Conn, error) { return ln.Dial() }, ReadTimeout: 10 * time.Second}
	ask := func(cookie, rng string) *fasthttp.Response {
		var req fasthttp.Request
		req.SetRequestURI("http://demo/video/demo/film.mp4")
		if cookie != "" {
			req.Header.SetCookie(sessionCookie, cookie)
		}
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		res := new(fasthttp.Response)
		if err := c.Do(&req, res); err != nil {
			t.Fatal(err)
		}
		return res
	}
	first := ask("", "")
	set := string(first.Header.PeekCookie(sessionCookie))
	value, _, _ := strings.Cut(strings.TrimPrefix(set, sessionCookie+"="), ";")
	id, ok := session.ParseID([]byte(value))
	if !ok || !bytes.Equal(first.Body(), b) || !strings.Contains(strings.ToLower(set), "httponly") || !strings.Contains(string(first.Header.Peek("Cache-Control")), "private") {
		t.Fatalf("%q %s", set, first.Header.String())
	}
	if second := ask(value, "bytes=1403294-"); len(second.Header.PeekCookie(sessionCookie)) != 0 || second.StatusCode() != 206 {
		t.Errorf("with a cookie: %s", second.Header.String())
	}
	// The last bytes are told once they are written; the client may have them before.
	all := int64(len(b) + len(b) - 1403294)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		a.mu.Lock()
		told := a.sent[id] >= all
		a.mu.Unlock()
		if told {
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.hits) != 2 || a.hits[0].ID != id || a.hits[1].ID != id || a.hits[0].Rendition != "mp4" || a.hits[0].Position != 0 {
		t.Fatalf("%+v", a.hits)
	}
	if half := uint32(f.DurationMS / 2); a.hits[1].Position < half-10 || a.hits[1].Position > half+10 {
		t.Errorf("from the middle: %+v", a.hits[1])
	}
	if at := a.at[id]; a.sent[id] != all || !slices.Contains(at, uint32(f.DurationMS)) || len(at) < 10 {
		t.Errorf("%d bytes in %d steps", a.sent[id], len(at))
	}
}

func TestRead(t *testing.T) {
	s, a := watchedServer(t)
	f := add(t, s, "demo", demoFilm(t))
	id, client := session.MakeID("x"), netip.MustParseAddr("192.0.2.1")
	s.Read(t.Context(), id, f.Key, f.Size/2, 1000, client)
	s.Read(t.Context(), id, "demo/film.other", 0, 1000, client)
	s.Read(t.Context(), id, "none/film.ID1", 0, 1000, client)
	if len(a.hits) != 1 || a.hits[0].Client != client || a.hits[0].Rendition != "play" || a.hits[0].Position != uint32(f.DurationMS/2) || a.sent[id] != 1000 {
		t.Errorf("%+v %v", a.hits, a.sent)
	}
}
