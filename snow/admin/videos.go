package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Video is what is told of a film.
type Video struct {
	Name        string    `json:"name"`
	SHA256      string    `json:"sha256"`
	Size        int64     `json:"size_bytes"`
	DurationMS  int64     `json:"duration_ms"`
	Width       int       `json:"width"`
	Height      int       `json:"height"`
	FrameRate   float64   `json:"frame_rate"`
	VideoCodec  string    `json:"video_codec"`
	AudioCodec  string    `json:"audio_codec,omitempty"`
	AverageBits int64     `json:"average_bits"` // a second
	PeakBits    int64     `json:"peak_bits"`    // a second
	Segments    int       `json:"segments"`
	Added       time.Time `json:"added"`
	Stored      int       `json:"stored"`
	Survives    int       `json:"survives"`
	Poster      bool      `json:"poster"`
	Captions    []string  `json:"captions"` // languages; "": not named
	Path        string    `json:"path"`     // of its page, on every web address
	Object      string    `json:"object"`   // the file itself, as BUCKET/KEY
}

// VideoAnswer is about one film; VideosAnswer lists all.
type (
	VideoAnswer struct {
		API int `json:"api"`
		Video
	}
	VideosAnswer struct {
		API    int     `json:"api"`
		Videos []Video `json:"videos"`
	}
)

// Videos keeps films. What it refuses wraps ErrBadInput, and says what it found.
type Videos interface {
	// Add takes in a film of size bytes (0 or less: not known).
	Add(ctx context.Context, name string, body io.Reader, size int64) (v Video, created bool, err error)
	// Attach gives a film its "poster", its "captions", or those of a language,
	// such as "captions.de".
	Attach(ctx context.Context, name, what string, body io.Reader) error
	Get(ctx context.Context, name string) (Video, error)
	List(ctx context.Context) ([]Video, error)
	Remove(ctx context.Context, name string) error
}

// videos serves /api/v1/videos[/NAME[/poster|captions[.LANGUAGE]]].
func (c *call) videos() error {
	switch {
	case c.s.deps.Videos == nil || len(c.path) > 3:
		return noSuchPath(string(c.Path()))
	case len(c.path) == 1 || len(c.path) == 2 && c.path[1] == "":
		return c.listVideos()
	case len(c.path) == 3:
		return c.attachVideo(c.path[1], c.path[2])
	}
	name := c.path[1]
	if err := c.allow("GET", "PUT", "DELETE"); err != nil {
		return err
	}
	if c.method == "PUT" {
		return c.putVideo(name)
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if c.method == "DELETE" {
		if err := c.s.deps.Videos.Remove(ctx, name); err != nil {
			return err
		}
		c.s.log.Info("operator's order", slog.String("what", "remove a film"), slog.String("film", name))
		c.SetStatusCode(204)
		return nil
	}
	v, err := c.s.deps.Videos.Get(ctx, name)
	if err != nil {
		return err
	}
	sendJSON(c.RequestCtx, 200, VideoAnswer{API, v})
	return nil
}

func (c *call) listVideos() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	list, err := c.s.deps.Videos.List(ctx)
	if err != nil {
		return err
	}
	notNil(&list)
	sendJSON(c.RequestCtx, 200, VideosAnswer{API, list})
	return nil
}

func (c *call) putVideo(name string) error {
	if c.Request.Header.Peek("Content-Range") != nil {
		return fail(400, "bad_request", "a PUT of a part is not possible", "send the whole film")
	}
	// As with objects: the body may take its time, what follows it may not.
	ctx, cancel := context.WithCancelCause(c.s.base)
	defer cancel(nil)
	timer := time.AfterFunc(c.s.cfg.OpTimeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	v, created, err := c.s.deps.Videos.Add(ctx, name, &progress{c.body, timer, c.s.cfg.OpTimeout}, c.body.size)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			return fmt.Errorf("admin: film %s: %w", name, cause)
		}
		return err
	}
	c.s.log.Info("operator's order", slog.String("what", "add a film"), slog.String("film", name))
	sendJSON(c.RequestCtx, createdOr200(created), VideoAnswer{API, v})
	return nil
}

func (c *call) attachVideo(name, what string) error {
	if what != "poster" && what != "captions" && !strings.HasPrefix(what, "captions.") {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("PUT"); err != nil {
		return err
	}
	ctx, cancel := c.s.uploadContext(c.body.size)
	defer cancel()
	if err := c.s.deps.Videos.Attach(ctx, name, what, c.body); err != nil {
		return err
	}
	c.SetStatusCode(204)
	return nil
}
