package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeVideos takes any text that begins with "film" for a film.
type fakeVideos struct {
	mu       sync.Mutex
	films    map[string]Video
	attached []string
}

func (f *fakeVideos) Add(_ context.Context, name string, body io.Reader, size int64) (Video, bool, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return Video{}, false, fmt.Errorf("fake: body: %w", err)
	}
	if !strings.HasPrefix(string(b), "film") || size != int64(len(b)) {
		return Video{}, false, fmt.Errorf("%w: this is %q of %d bytes", ErrBadInput, b, size)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, there := f.films[name]
	v := Video{Name: name, Size: size, Path: "/video/" + name + "/"}
	f.films[name] = v
	return v, !there, nil
}

func (f *fakeVideos) Attach(_ context.Context, name, what string, body io.Reader) error {
	b, err := io.ReadAll(body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attached = append(f.attached, name+" "+what+" "+string(b))
	return err
}

func (f *fakeVideos) Get(_ context.Context, name string) (Video, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, ok := f.films[name]; ok {
		return v, nil
	}
	return Video{}, fmt.Errorf("film %q: %w", name, ErrNotFound)
}

func (f *fakeVideos) List(context.Context) (out []Video, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.films {
		out = append(out, v)
	}
	return out, nil
}

func (f *fakeVideos) Remove(ctx context.Context, name string) error {
	if _, err := f.Get(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.films, name)
	return nil
}

func TestVideos(t *testing.T) {
	r := newRig(t, nil)
	f := r.videos
	const v = "/api/v1/videos"
	if _, body := r.want(200, "GET", v, ""); !strings.Contains(body, `{"api":1,"videos":[]}`) {
		t.Errorf("no films = %s", body)
	}
	r.want(404, "GET", v+"/a", "")
	r.want(404, "DELETE", v+"/a", "")
	r.want(201, "PUT", v+"/a", "film one")
	_, body := r.want(200, "PUT", v+"/a", "film the second")
	var a VideoAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.API != 1 || a.Name != "a" || a.Size != 15 || a.Path != "/video/a/" {
		t.Errorf("put answered %s (%v)", body, err)
	}
	if _, body = r.want(422, "PUT", v+"/a", "a picture"); !strings.Contains(body, "a picture") {
		t.Errorf("a refused film does not say what was found: %s", body)
	}
	r.want(400, "PUT", v+"/a", "film", "Content-Range: bytes 0-3/10")
	r.want(405, "POST", v+"/a", "")
	r.want(405, "POST", v, "")
	r.want(200, "GET", v+"/a", "")
	if _, body = r.want(200, "GET", v, ""); !strings.Contains(body, `"name":"a"`) {
		t.Errorf("list = %s", body)
	}
	r.want(204, "PUT", v+"/a/poster", "jpeg")
	r.want(204, "PUT", v+"/a/captions", "vtt")
	r.want(204, "PUT", v+"/a/captions.de", "vtt")
	r.want(404, "PUT", v+"/a/smell", "x")
	r.want(405, "GET", v+"/a/poster", "")
	r.want(404, "PUT", v+"/a/poster/x", "x")
	if want := []string{"a poster jpeg", "a captions vtt", "a captions.de vtt"}; !slices.Equal(f.attached, want) {
		t.Errorf("attached %v", f.attached)
	}
	r.want(204, "DELETE", v+"/a", "")
	r.want(404, "GET", v+"/a", "")
}
