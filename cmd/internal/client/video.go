package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"rain/snow/admin"
)

func videoPath(name string) string { return "/api/v1/videos/" + url.PathEscape(name) }

// AddVideo stores a film of size bytes. body is read from its beginning, again
// if another node has to be asked.
func (c *Client) AddVideo(ctx context.Context, name string, body io.ReadSeeker, size int64) (admin.VideoAnswer, error) {
	r := putBody(videoPath(name), "video/mp4", body, size)
	var a admin.VideoAnswer
	err := c.call(ctx, r, &a)
	return a, err
}

// AttachVideo gives a film its poster (a JPEG) or its captions (WebVTT).
func (c *Client) AttachVideo(ctx context.Context, name, what string, body io.ReadSeeker, size int64) error {
	return c.call(ctx, putBody(videoPath(name)+"/"+what, "", body, size), nil)
}

// putBody is a PUT of one body.
func putBody(path, kind string, body io.ReadSeeker, size int64) request {
	h := http.Header{}
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	return request{method: "PUT", path: path, header: h, size: size, body: func() (io.ReadCloser, error) {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("client: %s: %w", path, err)
		}
		return io.NopCloser(body), nil
	}}
}

// Video describes one film.
func (c *Client) Video(ctx context.Context, name string) (admin.VideoAnswer, error) {
	var a admin.VideoAnswer
	err := c.call(ctx, request{method: "GET", path: videoPath(name)}, &a)
	return a, err
}

// Videos lists the films.
func (c *Client) Videos(ctx context.Context) ([]admin.Video, error) {
	var a admin.VideosAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/videos"}, &a)
	return a.Videos, err
}

// RemoveVideo takes a film off.
func (c *Client) RemoveVideo(ctx context.Context, name string) error {
	return c.delete(ctx, request{method: "DELETE", path: videoPath(name)})
}
