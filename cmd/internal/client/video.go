package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

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

// AttachVideo gives a film its "poster" (a JPEG), its "captions" (WebVTT), or
// those of a language, such as "captions.de".
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

// ReadPart returns length bytes from off of an object named BUCKET/KEY, and who
// sent them: the node's name, or its address. It begins with the node'th of the
// admin addresses and asks each until one has given all; a node that is silent
// costs patience.
func (c *Client) ReadPart(ctx context.Context, object string, off, length int64, node int, patience time.Duration) (part []byte, from string, err error) {
	bucket, key, _ := strings.Cut(object, "/")
	var errs []error
	for i := range c.urls {
		u := c.urls[(node+i)%len(c.urls)]
		part, err := c.at(u).readPart(ctx, bucket, key, off, length, patience)
		if err == nil {
			return part, c.nameOf(u), nil
		}
		var e *Error
		if errors.As(err, &e) && (e.Status == 404 || e.Status == 401) {
			return nil, "", err // the others would say the same
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", gather(errs)
}

func (c *Client) readPart(ctx context.Context, bucket, key string, off, length int64, patience time.Duration) (part []byte, err error) {
	c.Timeout = patience
	o, err := c.Get(ctx, bucket, key, fmt.Sprintf("%d-%d", off, off+length-1))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Body.Close()) }()
	part = make([]byte, length)
	if n, err := io.ReadFull(o.Body, part); err != nil {
		return nil, fmt.Errorf("client: %s/%s: %d of %d bytes from %d: %w", bucket, key, n, length, off, err)
	}
	return part, nil
}

// nameOf is the name of the node with the admin address.
func (c *Client) nameOf(u string) string {
	for name, at := range c.nodes {
		if strings.TrimRight(at, "/") == u {
			return name
		}
	}
	return strings.TrimPrefix(u, "http://")
}

// Nodes is the number of admin addresses.
func (c *Client) Nodes() int { return len(c.urls) }
