package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"rain/snow/httpfile"
	"rain/snow/site/sitetest"
	"rain/store"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPublisher(s Store) *Publisher {
	var n atomic.Int64
	return NewPublisher(s, func() time.Time { return start }, func() string { return fmt.Sprint(n.Add(1)) })
}

func newReader(s Content) *Reader { return NewReader(s, 1<<20, 4, 10*time.Second) }

func folder(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), ModTime: start}
	}
	return m
}

// read gives the content of a file, or "" if there is none.
func read(t *testing.T, r *Reader, host, path string) string {
	t.Helper()
	s, err := r.Site(t.Context(), NewHost(host))
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	e := s.Lookup([]byte(path))
	if e == nil {
		return ""
	}
	var f httpfile.File
	if err := r.Describe(t.Context(), e, &f); err != nil {
		t.Fatalf("%s/%s: %v", host, path, err)
	}
	return string(f.Small)
}

// keys of the bucket.
func keys(t *testing.T, s *sitetest.Store, prefix string) []string {
	t.Helper()
	infos, _, err := s.List(Bucket, prefix, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range infos {
		out = append(out, i.Key)
	}
	return out
}

func TestPublishRollbackRemove(t *testing.T) {
	s := sitetest.New()
	p, r, ctx := newPublisher(s), newReader(s), t.Context()
	res, err := p.Publish(ctx, "a.test", folder("index.html", "one", "x.txt", "same"), true)
	if err != nil || res != (Result{"a.test", 1, 2, 7}) {
		t.Fatalf("%+v, %v", res, err)
	}
	res, err = p.Publish(ctx, "a.test", folder("index.html", "two", "x.txt", "same", "y.txt", "same"), false)
	if err != nil || res != (Result{"a.test", 2, 3, 3}) {
		t.Fatalf("only what is missing is sent: %+v, %v", res, err)
	}
	if got := read(t, r, "unknown.test", "index.html"); got != "two" {
		t.Errorf("default site: %q", got)
	}
	res, err = p.Rollback(ctx, "a.test", 0)
	if err != nil || res.Version != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := read(t, r, "a.test", "index.html"); got != "one" {
		t.Errorf("rolled back: %q", got)
	}
	if _, err := p.Rollback(ctx, "a.test", 0); !errors.Is(err, ErrNoVersion) {
		t.Errorf("before the first: %v", err)
	}
	if _, err := p.Rollback(ctx, "b.test", 1); !errors.Is(err, ErrNoSite) {
		t.Errorf("no such site: %v", err)
	}
	infos, err := p.List(ctx)
	if err != nil || len(infos) != 1 || infos[0].Version != 1 || !infos[0].Default || len(infos[0].Versions) != 2 || infos[0].Files != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
	if err := p.Remove(ctx, "a.test"); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, s, ""); len(left) != 0 {
		t.Errorf("left after the removal: %q", left)
	}
	if _, err := r.Site(ctx, NewHost("a.test")); !errors.Is(err, ErrNoSite) {
		t.Errorf("after the removal: %v", err)
	}
	if err := p.Remove(ctx, "a.test"); !errors.Is(err, ErrNoSite) {
		t.Errorf("second removal: %v", err)
	}
}

func TestListStepsOverBlobs(t *testing.T) {
	p, hosts := newPublisher(sitetest.New()), []string{"a", "a-b", "a.b", "a0", "ab", "xn--x.test"}
	for _, h := range hosts {
		if _, err := p.Publish(t.Context(), h, folder("index.html", h), false); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := p.List(t.Context())
	var got []string
	for _, i := range infos {
		got = append(got, i.Host)
	}
	if slices.Sort(got); err != nil || !slices.Equal(got, hosts) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOldVersionsGo(t *testing.T) {
	s := sitetest.New()
	p, ctx := newPublisher(s), t.Context()
	for v := 1; v <= 9; v++ {
		if _, err := p.Publish(ctx, "a.test", folder("index.html", fmt.Sprint(v), "same.txt", "same"), false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(keys(t, s, "a.test/manifest/")); n != KeepVersions {
		t.Errorf("%d manifests", n)
	}
	if n := len(keys(t, s, "a.test/blob/")); n != KeepVersions+1 {
		t.Errorf("%d blobs; %d versions' and the one they share are expected", n, KeepVersions)
	}
	if _, err := p.Rollback(ctx, "a.test", 5); err != nil {
		t.Errorf("the oldest kept: %v", err)
	}
	if _, err := p.Rollback(ctx, "a.test", 4); !errors.Is(err, ErrNoVersion) {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestFailedPublishChangesNothing(t *testing.T) {
	s := sitetest.New()
	p, r, ctx := newPublisher(s), newReader(s), t.Context()
	if _, err := p.Publish(ctx, "a.test", folder("index.html", "one"), false); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"/blob/", "/manifest/", "/current"} {
		s.Fail = func(op, key string) error {
			if op == "put" && strings.Contains(key, part) {
				return store.ErrUnavailable
			}
			return nil
		}
		if _, err := p.Publish(ctx, "a.test", folder("index.html", "new"+part), false); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", part, err)
		}
		if got := read(t, r, "a.test", "index.html"); got != "one" {
			t.Errorf("%s: serves %q", part, got)
		}
	}
	s.Fail = nil
	if _, err := p.Publish(ctx, "a.test", folder("index.html", "two"), false); err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, "a.test", "index.html"); got != "two" {
		t.Errorf("afterwards %q", got)
	}
}

func TestCommitChecks(t *testing.T) {
	s := sitetest.New()
	p, ctx := newPublisher(s), t.Context()
	m, err := Scan(folder("a", "one", "b", "two"))
	if err != nil {
		t.Fatal(err)
	}
	var missing *MissingError
	if _, err := p.Commit(ctx, "a.test", m, false); !errors.As(err, &missing) || !errors.Is(err, ErrMissing) || len(missing.SHA256) != 2 {
		t.Fatalf("without blobs: %v", err)
	}
	sha := m.Files["a"].SHA256
	if err := p.PutBlob(ctx, "a.test", sha, strings.NewReader("other")); !errors.Is(err, ErrBadBlob) {
		t.Errorf("a lie: %v", err)
	}
	if got, err := p.Have(ctx, "a.test", []string{sha}); err != nil || len(got) != 1 {
		t.Errorf("after a lie: %v, %v", got, err)
	}
	for _, f := range []string{"one", "two"} {
		for _, file := range m.Files {
			_ = p.PutBlob(ctx, "a.test", file.SHA256, strings.NewReader(f)) // one of the two is right
		}
	}
	if got, err := p.Have(ctx, "a.test", []string{m.Files["b"].SHA256}); err != nil || len(got) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	if err := p.PutBlob(ctx, "a.test", sha, strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	f := m.Files["a"]
	f.Size++
	m.Files["a"] = f
	if _, err := p.Commit(ctx, "a.test", m, false); !errors.Is(err, ErrBadBlob) {
		t.Errorf("a wrong size: %v", err)
	}
	f.Size--
	m.Files["a"] = f
	if _, err := p.Commit(ctx, "a.test", m, false); err != nil {
		t.Error(err)
	}
}

// Publishers at once, whose files come and go: whatever is served at any time
// is whole, and at the end nothing needed was deleted.
func TestPublishersRace(t *testing.T) {
	s := sitetest.New()
	p := newPublisher(s)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 12 {
				// Few contents: one publisher drops what another is about to use.
				files := folder("index.html", fmt.Sprint(w), "x", fmt.Sprint((w+i)%7), "y", fmt.Sprint(i%3))
				if _, err := p.Publish(context.Background(), "a.test", files, false); err != nil && !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		r := NewReader(s, 1, 0, 10*time.Second) // no cache: each read asks the store
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, before, _ := readCurrent(context.Background(), s, "a.test") // if it fails, so does the next
			site, err := r.Site(context.Background(), NewHost("a.test"))
			if _, after, _ := readCurrent(context.Background(), s, "a.test"); err != nil && after != before {
				continue // overtaken: a number that was swept may be taken for a moment by who loses
			}
			if errors.Is(err, ErrNoSite) || errors.Is(err, store.ErrNotFound) {
				continue // not yet published, or its manifest was overtaken
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, path := range []string{"index.html", "x", "y"} {
				if site.Lookup([]byte(path)) == nil {
					t.Errorf("version %d has no %s", site.Version, path)
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	watch.Wait()
	cur, _, err := readCurrent(t.Context(), s, "a.test")
	if err != nil || len(cur.Versions) != KeepVersions {
		t.Fatalf("%+v, %v", cur, err)
	}
	needed, err := p.needed(t.Context(), &cur, nil)
	if err != nil {
		t.Fatal(err)
	}
	for sha := range maps.Keys(needed) {
		if _, err := s.Stat(Bucket, blobKey("a.test", sha)); err != nil {
			t.Errorf("blob %s of a kept version: %v", sha, err)
		}
	}
}

// A blob that a commit listed for deletion, whose deletion comes late, must be
// sent again by who needs it, and the late delete must not hit the new one.
func TestLateSweep(t *testing.T) {
	s := sitetest.New()
	p, ctx := newPublisher(s), t.Context()
	s.Fail = func(op, key string) error {
		if op == "delete" {
			return store.ErrUnavailable
		}
		return nil
	}
	for v := range KeepVersions + 1 {
		if _, err := p.Publish(ctx, "a.test", folder("index.html", fmt.Sprint(v)), false); err != nil {
			t.Fatal(err)
		}
	}
	cur, _, err := readCurrent(ctx, s, "a.test")
	if err != nil || len(cur.Sweep) != 1 {
		t.Fatalf("%+v, %v", cur, err)
	}
	s.Fail = nil
	late := maps.Clone(cur.Sweep)
	res, err := p.Publish(ctx, "a.test", folder("index.html", "0"), false)
	if err != nil || res.SentBytes != 1 {
		t.Fatalf("a listed blob was not sent again: %+v, %v", res, err)
	}
	p.clean(ctx, "a.test", nil, late)
	if got := read(t, newReader(s), "a.test", "index.html"); got != "0" {
		t.Errorf("%q", got)
	}
}

func TestScan(t *testing.T) {
	m, err := Scan(folder("a/b.css", "x", "c", ""))
	if err != nil || len(m.Files) != 2 || m.Files["a/b.css"].Type != "text/css; charset=utf-8" || !m.Files["c"].Modified.Equal(start) {
		t.Errorf("%+v, %v", m, err)
	}
	link := folder("a", "x")
	link["l"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("/etc/passwd")}
	if _, err := Scan(link); !errors.Is(err, ErrLink) {
		t.Errorf("a link: %v", err)
	}
	if _, err := Scan(folder()); err == nil {
		t.Error("an empty folder is no site")
	}
}

func TestNames(t *testing.T) {
	for _, h := range []string{"a", "a.test", "xn--mnchen-3ya.de", "127.0.1.1", "::1", "a-b.c"} {
		if err := CheckHost(h); err != nil {
			t.Error(err)
		}
	}
	for _, h := range []string{"", "A.test", "a..b", "-a", "a-", "_default", "a/b", "a b", ".", "fe80::1%eth0", strings.Repeat("a", 64), strings.Repeat("a.", 127)} {
		if CheckHost(h) == nil {
			t.Errorf("host %q passed", h)
		}
	}
	for _, p := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".", "..", "a\x00", "a\\b", "a\n", "\xff", strings.Repeat("a", MaxPath+1)} {
		if CheckPath(p) == nil {
			t.Errorf("path %q passed", p)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	f.Add("a/b.html")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, p string) {
		if CheckPath(p) == nil && !fs.ValidPath(p) {
			t.Fatalf("%q passed", p)
		}
	})
}
