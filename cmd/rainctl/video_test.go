package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rain/snow/admin"
)

const demoFilm = "../../assets/film/demo.mp4"

func TestVideoAdd(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		got[r.Method+" "+r.URL.Path] = len(b)
		mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/poster"), strings.Contains(r.URL.Path, "/captions"), r.Method == "DELETE":
			w.WriteHeader(204)
		case r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/x"):
			_ = json.NewEncoder(w).Encode(admin.VideoAnswer{API: 1, Video: admin.Video{Name: "x", Poster: true, Captions: []string{"", "de"}}})
		case r.Method == "GET":
			_ = json.NewEncoder(w).Encode(admin.VideosAnswer{API: 1, Videos: []admin.Video{{Name: "a\x1bb", DurationMS: 3723400}}})
		default:
			_ = json.NewEncoder(w).Encode(admin.VideoAnswer{API: 1, Video: admin.Video{Name: "x"}})
		}
	}))
	defer s.Close()
	dir := t.TempDir()
	file := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	poster, captions := file("p.jpg", "\xff\xd8\xff"), file("c.vtt", "WEBVTT\n")
	if r := ctl(t, "", nil, "--admin", s.URL, "video", "add", file("bad.mp4", "this is no film"), "--name", "a"); r.code != 3 || !strings.Contains(r.errOut, "unknown kind") || len(got) != 0 {
		t.Errorf("no film: %d %s; sent %v", r.code, r.errOut, got)
	}
	if r := ctl(t, "", nil, "--admin", s.URL, "video", "add", demoFilm, "--name", "a/b"); r.code != 3 {
		t.Errorf("a bad name: %d %s", r.code, r.errOut)
	}
	if r := ctl(t, "", nil, "--admin", s.URL, "--json", "video", "add", demoFilm, "--name", "x", "--poster", poster, "--captions", captions, "--captions", "de="+file("d.vtt", "WEBVTT\n\n")); r.code != 0 || !strings.Contains(r.out, `"poster":true,"captions":["","de"]`) {
		t.Errorf("video add: %d %s%s", r.code, r.out, r.errOut)
	}
	for path, size := range map[string]int{"PUT /api/v1/videos/x": 2806588, "PUT /api/v1/videos/x/poster": 3, "PUT /api/v1/videos/x/captions": 7, "PUT /api/v1/videos/x/captions.de": 8} {
		if got[path] != size {
			t.Errorf("%s got %d bytes, want %d; all: %v", path, got[path], size, got)
		}
	}
	if r := ctl(t, "", nil, "--admin", s.URL, "video", "ls"); r.code != 0 || strings.Contains(r.out, "\x1b") || !strings.Contains(r.out, "1:02:03") {
		t.Errorf("video ls: %d %q", r.code, r.out)
	}
	if r := ctl(t, "", nil, "--admin", s.URL, "video", "rm", "x"); r.code != 0 {
		t.Errorf("video rm: %d %s", r.code, r.errOut)
	}
}

func TestFilmName(t *testing.T) {
	var got []string
	for _, f := range []string{"/a/b/Film One.mp4", "x.tar.mp4", "über.mp4", "ok"} {
		got = append(got, filmName(f))
	}
	if want := []string{"Film-One", "x.tar", "ber", "ok"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
}
