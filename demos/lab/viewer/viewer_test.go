package viewer

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlayback(t *testing.T) {
	const s = time.Second
	var p Playback
	p.Arrived(3*s, 2*s) // begins here, and has film until 5
	if got := p.Ahead(4 * s); got != s {
		t.Errorf("ahead %v", got)
	}
	p.Arrived(4*s, 2*s) // until 7
	p.Arrived(9*s, 2*s) // stood still from 7 to 9
	p.Ended(10 * s)     // film is left
	if p.total != 2*s || p.worst != 2*s || len(p.stalls) != 1 || p.stalls[0] != (Stall{7 * s, 2 * s}) || p.shown != 6*s {
		t.Errorf("%+v", p)
	}
	p.Ended(12 * s) // stands still from 11 on
	if p.total != 3*s {
		t.Errorf("stalled %v", p.total)
	}
}

// slow gives its bytes in pieces, with a rest before each.
type slow struct{ rests []time.Duration }

func (r *slow) Read(b []byte) (int, error) {
	if len(r.rests) == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.rests[0])
	r.rests = r.rests[1:]
	return 1000, nil
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		// Each read is a second of film; the fourth comes three seconds late.
		rep, err := Pace(t.Context(), &slow{[]time.Duration{s, 0, 0, 4 * s, 0}}, "x", 1000, s)
		if err != nil {
			t.Fatal(err)
		}
		// The fourth is asked for at 3, when film is there until 4, and comes at 7.
		if rep.Shown != 5000 || rep.Stalled != 3000 || len(rep.Stalls) != 1 || !rep.Stalls[0].At.Equal(rep.Started.Add(4*s)) {
			t.Errorf("%+v", rep)
		}
	})
}

func TestParsePlaylist(t *testing.T) {
	list, next, err := parsePlaylist("http://h/v/index.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmedia.m3u8?v=1\n")
	if err != nil || len(list) != 0 || next != "http://h/v/media.m3u8?v=1" {
		t.Errorf("%v %q %v", list, next, err)
	}
	list, _, err = parsePlaylist("http://h/v/media.m3u8?v=1", "#EXTM3U\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:2.5,\na.m4s\n#EXTINF:2,\n/b.m4s\n")
	if err != nil || len(list) != 2 || list[0] != (segment{"http://h/v/a.m4s", 2500 * time.Millisecond}) || list[1].url != "http://h/b.m4s" {
		t.Errorf("%v %v", list, err)
	}
	for _, bad := range []string{"", "#EXTM3U\n", "<html>", "#EXTM3U\n#EXTINF:-1,\na\n", "#EXTM3U\n#EXTINF:NaN,\na\n"} {
		if _, _, err := parsePlaylist("http://h/", bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzPlaylist(f *testing.F) {
	f.Add("#EXTM3U\n#EXTINF:2,\na\n")
	f.Fuzz(func(t *testing.T, s string) {
		list, next, err := parsePlaylist("http://h/x", s)
		if err == nil && len(list) == 0 && next == "" {
			t.Error("nothing, and no error")
		}
		for _, x := range list {
			if x.film <= 0 {
				t.Errorf("a segment of %v", x.film)
			}
		}
	})
}

// A segment that fails is lost film, is not asked for again, and the film goes on.
func TestHLSCountsWhatIsLost(t *testing.T) {
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		switch {
		case strings.HasSuffix(r.URL.Path, ".m3u8"):
			_, _ = io.WriteString(w, "#EXTM3U\n#EXTINF:0.1,\na\n#EXTINF:0.1,\nbad\n#EXTINF:5,\nc\n")
		case r.URL.Path == "/bad":
			http.Error(w, "no", http.StatusServiceUnavailable)
		default:
			w.Header().Set("X-Rain-Node", "n"+r.URL.Path)
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rep, err := HLS(ctx, Config{URL: srv.URL + "/x.m3u8", For: time.Second, Ahead: 100 * time.Millisecond, Give: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed != 1 || rep.Lost != 100 || asked["/bad"] != 1 || asked["/a"] != 1 || asked["/c"] != 1 || rep.Failures[0].Text != "status 503" {
		t.Errorf("%+v, asked %v", rep, asked)
	}
	if len(rep.Sent) != 2 || rep.Sent[0].Node != "n/a" || rep.Sent[0].Segment != 0 || rep.Sent[1].Node != "n/c" || rep.Sent[1].Segment != 2 {
		t.Errorf("sent: %+v", rep.Sent)
	}
}

// A player that asks again loses nothing.
func TestHLSAsksAgain(t *testing.T) {
	failures := 3
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".m3u8"):
			_, _ = io.WriteString(w, "#EXTM3U\n#EXTINF:60,\na\n")
		case failures > 0:
			failures--
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	rep, err := HLS(t.Context(), Config{URL: srv.URL + "/x.m3u8", For: time.Second, Give: 10 * time.Second, Again: true})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed != 3 || rep.Lost != 0 || rep.Shown != 60_000 {
		t.Errorf("%+v", rep)
	}
}
