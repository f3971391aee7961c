package site

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"rain/snow/httpfile"
	"rain/snow/site/sitetest"
)

func TestCacheBounds(t *testing.T) {
	s := sitetest.New()
	s.Dir = t.TempDir()
	files := fstest.MapFS{}
	for i := range 20 {
		files[fmt.Sprint("small", i)] = &fstest.MapFile{Data: []byte(strings.Repeat(fmt.Sprint(i%10), 1000))}
		files[fmt.Sprint("large", i)] = &fstest.MapFile{Data: []byte(strings.Repeat(fmt.Sprintf("%02d", i), 50_000))}
	}
	if _, err := newPublisher(s).Publish(t.Context(), "a.test", files, false); err != nil {
		t.Fatal(err)
	}
	r := NewReader(s, 5500, 3, 10*time.Second)
	site, err := r.Site(t.Context(), NewHost("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				small, large := fmt.Sprint("small", (i*7+w)%20), fmt.Sprint("large", (i*3+w)%20)
				var f httpfile.File
				if err := r.Describe(t.Context(), site.Lookup([]byte(small)), &f); err != nil || string(f.Small) != string(files[small].Data) {
					t.Errorf("%s: %d bytes, %v", small, len(f.Small), err)
				}
				body, release, err := r.Open(t.Context(), site.Lookup([]byte(large)))
				if err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, 4)
				if _, err := body.ReadAt(got, 2); err != nil || string(got) != string(files[large].Data[2:6]) {
					t.Errorf("%s: %q, %v", large, got, err)
				}
				release()
			}
		})
	}
	wg.Wait()
	if r.cache.bytes > 5500 || int64(len(r.cache.smalls))*1000 != r.cache.bytes {
		t.Errorf("%d bytes of %d files are kept", r.cache.bytes, len(r.cache.smalls))
	}
	if n := s.Opened(); n > 3 {
		t.Errorf("%d files are open", n)
	}
	r.Close()
	if n := s.Opened(); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
}

// A new version keeps what did not change, and lets go of the rest.
func TestReload(t *testing.T) {
	s := sitetest.New()
	s.Dir = t.TempDir()
	p, r := newPublisher(s), newReader(s)
	big := strings.Repeat("b", 100_000)
	open := func(path string) *Entry {
		site, err := r.Site(t.Context(), NewHost("a.test"))
		if err != nil {
			t.Fatal(err)
		}
		e := site.Lookup([]byte(path))
		_, release, err := r.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		release()
		return e
	}
	if _, err := p.Publish(t.Context(), "a.test", folder("same", big, "other", big+"1"), false); err != nil {
		t.Fatal(err)
	}
	same, other := open("same"), open("other")
	if s.Opened() != 2 {
		t.Fatalf("%d open", s.Opened())
	}
	if _, err := p.Publish(t.Context(), "a.test", folder("same", big, "other", big+"2"), false); err != nil {
		t.Fatal(err)
	}
	if open("same") != same {
		t.Error("an unchanged file was made anew")
	}
	if s.Opened() != 1 {
		t.Errorf("%d open; the replaced file should be closed", s.Opened())
	}
	if open("other") == other {
		t.Error("a changed file is still the old one")
	}
	r.Close()
}
