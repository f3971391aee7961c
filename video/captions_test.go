package video

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// Captions come in languages, each under an address of its own.
func TestCaptions(t *testing.T) {
	s, _ := newServer(t, true)
	add(t, s, "a", demoFilm(t))
	for _, what := range []string{"captions.de", "captions", "captions.pt-BR"} {
		if err := s.Attach(t.Context(), "a", what, strings.NewReader("WEBVTT "+what)); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"captions.", "captions.DE", "captions.x", "captions.de/x", "captions.de.vtt", "captionsx", "captions." + strings.Repeat("a", 200)} {
		if err := s.Attach(t.Context(), "a", what, strings.NewReader("WEBVTT")); !errors.Is(err, ErrBadExtra) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if f, err := s.Film(t.Context(), "a"); err != nil || !slices.Equal(f.Captions, []string{"", "de", "pt-BR"}) {
		t.Errorf("%q, %v", f.Captions, err)
	}
	if body := get(t, s, "GET", "/video/a/film.json").Body(); !strings.Contains(string(body), `"captions":["","de","pt-BR"]`) {
		t.Errorf("film.json: %s", body)
	}
	for path, want := range map[string]string{"captions.vtt": "WEBVTT captions", "captions.pt-BR.vtt": "WEBVTT captions.pt-BR"} {
		res := get(t, s, "GET", "/video/a/"+path)
		if res.StatusCode() != 200 || string(res.Body()) != want {
			t.Errorf("%s: %d %q", path, res.StatusCode(), res.Body())
		}
	}
	for _, path := range []string{"captions.fr.vtt", "captions..vtt", "poster.vtt", "index.vtt"} {
		if res := get(t, s, "GET", "/video/a/"+path); res.StatusCode() != 404 {
			t.Errorf("%s: %d", path, res.StatusCode())
		}
	}
}
