package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxPlaylist = 1 << 20
	maxSegment  = 64 << 20
)

// Config says how an HLS film is watched.
type Config struct {
	URL   string        // of the playlist
	For   time.Duration // how long; the film begins anew at its end
	Ahead time.Duration // how much film is fetched ahead; at least one segment
	Give  time.Duration // a request without its whole answer by then has failed
	Host  string        // Host header, if not the URL's
	Again bool          // ask again for what failed, as players do; then nothing is lost
}

// pause is how long one waits before one asks again.
const pause = 100 * time.Millisecond

// segment is a part of a film.
type segment struct {
	url  string
	film time.Duration
}

// HLS watches a film. Each request has a connection of its own, and none is
// repeated unless cfg says so: nothing hides a failure. An error says that the film could not begin.
func HLS(ctx context.Context, cfg Config) (Report, error) {
	w := &watcher{cfg: cfg, start: time.Now(), http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
	w.report.Film, w.report.Started = cfg.URL, w.start.UTC()
	list, err := w.open(ctx)
	for err != nil && cfg.Again && ctx.Err() == nil && time.Since(w.start) < cfg.For {
		w.report.failure(time.Now().UTC(), 0, why(err))
		time.Sleep(pause)
		list, err = w.open(ctx)
	}
	if err != nil {
		return w.report, err
	}
	for i := 0; time.Since(w.start) < cfg.For && ctx.Err() == nil; i = (i + 1) % len(list) {
		w.segment(ctx, i, list[i])
		if !w.rest(ctx, list[(i+1)%len(list)].film) {
			break
		}
	}
	w.play.Ended(min(time.Since(w.start), cfg.For))
	w.report.fill(&w.play)
	return w.report, nil
}

type watcher struct {
	cfg    Config
	start  time.Time
	http   *http.Client
	play   Playback
	report Report
}

// open reads the playlists down to the one with segments.
func (w *watcher) open(ctx context.Context) ([]segment, error) {
	at := w.cfg.URL
	for range 3 {
		body, _, err := w.get(ctx, at, maxPlaylist)
		if err != nil {
			return nil, fmt.Errorf("viewer: playlist %s: %w", at, err)
		}
		list, next, err := parsePlaylist(at, string(body))
		if err != nil {
			return nil, fmt.Errorf("viewer: playlist %s: %w", at, err)
		}
		if len(list) > 0 {
			return list, nil
		}
		at = next
	}
	return nil, fmt.Errorf("viewer: %s leads to no segments", w.cfg.URL)
}

// parsePlaylist finds the segments of a playlist, or the first playlist that it
// names.
func parsePlaylist(at, text string) (list []segment, next string, err error) {
	base, err := url.Parse(at)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(text, "#EXTM3U") {
		return nil, "", errors.New("no playlist")
	}
	film := time.Duration(-1)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
			number, _, _ := strings.Cut(rest, ",")
			s, err := strconv.ParseFloat(number, 64)
			if err != nil || !(s > 0 && s < 3600) {
				return nil, "", fmt.Errorf("a segment of %q seconds", number)
			}
			film = time.Duration(s * float64(time.Second))
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		u, err := base.Parse(line)
		if err != nil {
			return nil, "", err
		}
		if film < 0 {
			if next == "" {
				next = u.String()
			}
			continue
		}
		list = append(list, segment{u.String(), film})
		film = -1
	}
	if len(list) == 0 && next == "" {
		return nil, "", errors.New("an empty playlist")
	}
	return list, next, nil
}

// segment gets one, or notes that it is lost.
func (w *watcher) segment(ctx context.Context, number int, s segment) {
	for {
		begun := time.Now()
		w.report.Requests++
		_, node, err := w.get(ctx, s.url, maxSegment)
		if err == nil {
			w.report.sent(time.Now().UTC(), number, node)
			w.report.Slowest = max(w.report.Slowest, ms(time.Since(begun)))
			w.play.Arrived(time.Since(w.start), s.film)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !w.cfg.Again {
			w.report.failure(begun.UTC(), s.film, why(err))
			return
		}
		w.report.failure(begun.UTC(), 0, why(err))
		if time.Since(w.start) > w.cfg.For {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// rest waits until there is room for the next segment.
func (w *watcher) rest(ctx context.Context, next time.Duration) bool {
	now := time.Since(w.start)
	wait := w.play.Ahead(now) + next - max(w.cfg.Ahead, next)
	if left := w.cfg.For - now; wait > left {
		wait = left
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(wait, 0)):
		return true
	}
}

// get returns the body and the node that sent it.
func (w *watcher) get(ctx context.Context, at string, most int64) (body []byte, node string, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Give)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, "", err
	}
	req.Host = w.cfg.Host
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }() // all that matters is read
	body, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, "", err
	case resp.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("status %d", resp.StatusCode)
	case int64(len(body)) > most:
		return nil, "", fmt.Errorf("more than %d bytes", most)
	}
	return body, resp.Header.Get("X-Rain-Node"), nil
}
