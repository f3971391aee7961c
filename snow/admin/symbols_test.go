package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rain/ring"
	"rain/store"
)

// fakeSymbols has one striped object and one symbol file.
type fakeSymbols struct {
	dir    string
	opened []*os.File
}

func (f *fakeSymbols) Plan(bucket, key string) (store.Plan, error) {
	switch key {
	case "small":
		return store.Plan{Info: store.Info{Size: 3}}, nil
	case "large":
		return store.Plan{Info: store.Info{Size: 1 << 20, N: 2, K: 1}, Body: "abc", Unit: 65536, Nodes: []ring.NodeID{7, 1<<24 + 1<<8 + 2}}, nil
	}
	return store.Plan{}, fmt.Errorf("fake: %w", store.ErrNotFound)
}

func (f *fakeSymbols) SymbolFile(body string, part, column int) (*os.File, int64, error) {
	if body != "abc" || part != 2 || column != 1 {
		return nil, 0, fmt.Errorf("fake: %w", store.ErrNotFound)
	}
	file, err := os.Open(filepath.Join(f.dir, "symbols"))
	f.opened = append(f.opened, file)
	return file, 10, err
}

func TestSymbols(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "symbols"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil)
	fake := r.symbol
	fake.dir = dir
	for _, c := range []struct {
		method, path, rng string
		status            int
		body              string
	}{
		{"GET", "/api/v1/symbols/abc/2/1", "", 200, "0123456789"},
		{"GET", "/api/v1/symbols/abc/2/1", "bytes=3-5", 206, "345"},
		{"GET", "/api/v1/symbols/abc/2/1", "bytes=99-", 416, ""},
		{"HEAD", "/api/v1/symbols/abc/2/1", "", 200, ""},
		{"PUT", "/api/v1/symbols/abc/2/1", "", 405, ""},
		{"GET", "/api/v1/symbols/abc/2/0", "", 404, ""},
		{"GET", "/api/v1/symbols/abc/2/-1", "", 422, ""},
		{"GET", "/api/v1/symbols/abc/2", "", 404, ""},
		{"GET", "/api/v1/symbols/abc/2/99999999999", "", 422, ""},
	} {
		if _, body := r.want(c.status, c.method, c.path, "", "Range: "+c.rng); c.body != "" && body != c.body {
			t.Errorf("%s %s %s: %q, want %q", c.method, c.path, c.rng, body, c.body)
		}
	}
	for i, f := range fake.opened {
		if err := f.Close(); err == nil {
			t.Errorf("file %d was left open", i)
		}
	}
}

func TestPlan(t *testing.T) {
	r := newRig(t, nil)
	plan := func(key string) (a PlanAnswer) {
		r.want(201, "PUT", "/api/v1/objects/b/"+key, "abc") // the fake store wants to know it, too
		_, body := r.want(200, "GET", "/api/v1/objects/b/"+key+"?plan", "")
		if err := json.Unmarshal([]byte(body), &a); err != nil || a.API != 1 || a.Columns == nil {
			t.Fatalf("%s: %s %v", key, body, err)
		}
		return a
	}
	if a := plan("small"); a.Body != "" || len(a.Columns) != 0 || a.Size != 3 {
		t.Errorf("%+v", a)
	}
	a := plan("large")
	if a.Body != "abc" || a.Unit != 65536 || a.N != 2 || !slices.Equal(a.Columns, []Column{{0, "0.0.0.7", ""}, {1, "1.0.1.2", ""}}) {
		t.Errorf("%+v", a)
	}
	r.want(404, "GET", "/api/v1/objects/b/none?plan", "")
}
