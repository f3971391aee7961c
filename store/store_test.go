package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rain/ring"
	"rain/store/catalog"
)

func randomBody(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func mustBucket(t *testing.T, n *node, name string) {
	t.Helper()
	if _, err := n.s.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t *testing.T, n *node, key string, body []byte, opt PutOptions) Info {
	t.Helper()
	info, _, err := n.s.Put(t.Context(), "bucket", key, bytes.NewReader(body), opt)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return info
}

func readAll(t *testing.T, n *node, key string) []byte {
	t.Helper()
	o, err := n.s.Open(t.Context(), "bucket", key)
	if err != nil {
		t.Fatalf("open %s on %s: %v", key, n.id, err)
	}
	defer o.Body.Close()
	b, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPutIsVisibleOnEveryMember(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	for i, size := range []int{0, 1, 1000, smallBody, smallBody + 1, streamFrom, 3*streamFrom + 17} {
		key := fmt.Sprintf("k/%d", size)
		body := randomBody(uint64(i), size)
		info := mustPut(t, nodes[i%4], key, body, PutOptions{ContentType: "text/plain", Meta: map[string]string{"a": "b"}})
		k := 1
		if size > smallBody {
			k = 2
		}
		if info.Stored != 4 || info.Survives != 4-k || info.N != 4 || info.K != k {
			t.Errorf("size %d: stored %d, survives %d, n %d, k %d", size, info.Stored, info.Survives, info.N, info.K)
		}
		for _, n := range nodes {
			st, err := n.s.Stat("bucket", key)
			if err != nil || st.ETag != info.ETag || st.SHA256 != info.SHA256 || st.Version != info.Version || st.Meta["a"] != "b" {
				t.Fatalf("stat on %s: %+v, %v; want %+v", n.id, st, err, info)
			}
			if got := readAll(t, n, key); !bytes.Equal(got, body) {
				t.Fatalf("size %d on %s: %d other bytes", size, n.id, len(got))
			}
			if m := n.s.Missing(); m != 0 {
				t.Errorf("%s lacks %d bodies", n.id, m)
			}
		}
	}
	if err := nodes[1].s.Delete(t.Context(), "bucket", "k/1000", ""); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if _, err := n.s.Open(t.Context(), "bucket", "k/1000"); !errors.Is(err, ErrNotFound) {
			t.Errorf("open of the deleted key on %s: %v", n.id, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	c := newCluster(t, 1)
	n := c.all()[0]
	put := func(bucket, key string, body []byte, opt PutOptions) error {
		_, _, err := n.s.Put(t.Context(), bucket, key, bytes.NewReader(body), opt)
		return err
	}
	mustBucket(t, n, "bucket")
	if created, err := n.s.CreateBucket(t.Context(), "bucket"); created || err != nil {
		t.Errorf("second make of a bucket: %v, %v", created, err)
	}
	n.s.cfg.MaxObject = 1 << 20
	cut := io.MultiReader(strings.NewReader("half"), &failingReader{})
	_, _, errCut := n.s.Put(t.Context(), "bucket", "cut", cut, PutOptions{})
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"no bucket", put("absent", "k", nil, PutOptions{}), ErrNoBucket},
		{"bad bucket", put("Bad", "k", nil, PutOptions{}), ErrBadName},
		{"bad key", put("bucket", "a\x00", nil, PutOptions{}), ErrBadName},
		{"bad meta", put("bucket", "k", nil, PutOptions{Meta: map[string]string{"": "x"}}), ErrBadMeta},
		{"announced too large", put("bucket", "k", nil, PutOptions{Size: 1 << 21}), ErrTooLarge},
		{"too large", put("bucket", "k", make([]byte, 1<<20+1), PutOptions{}), ErrTooLarge},
		{"small, wrong size", put("bucket", "k", []byte("abc"), PutOptions{Size: 4}), ErrBadBody},
		{"large, wrong size", put("bucket", "k", make([]byte, 1<<18), PutOptions{Size: 4}), ErrBadBody},
		{"small, wrong hash", put("bucket", "k", []byte("abc"), PutOptions{SHA256: strings.Repeat("0", 64)}), ErrBadBody},
		{"large, wrong hash", put("bucket", "k", make([]byte, 1<<18), PutOptions{SHA256: strings.Repeat("0", 64)}), ErrBadBody},
		{"no hash", put("bucket", "k", nil, PutOptions{SHA256: "xyz"}), ErrBadBody},
		{"body broke off", errCut, io.ErrUnexpectedEOF},
		{"if-match without a key", put("bucket", "k", nil, PutOptions{IfMatch: "*"}), ErrPrecondition},
		{"delete of nothing", n.s.Delete(t.Context(), "bucket", "k", ""), ErrNotFound},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: %v; want %v", tc.name, tc.err, tc.want)
		}
	}
	n.mu.Lock()
	n.lonely = true
	n.mu.Unlock()
	if err := put("bucket", "k", nil, PutOptions{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, ring.ErrNotPrimary) {
		t.Errorf("put without quorum: %v", err)
	}
	noLeftovers(t, n)
	if st := n.s.Status(); st.Objects != 0 || st.PutFailures == 0 {
		t.Errorf("status %+v", st)
	}
}

type failingReader struct{}

func (*failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func noLeftovers(t *testing.T, n *node) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(n.dir, "tmp"))
	if err != nil || len(list) != 0 {
		t.Errorf("%s: %d temporary files left, %v", n.id, len(list), err)
	}
}

func TestIfMatchRaceHasOneWinner(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	etag := mustPut(t, nodes[0], "k", []byte("0"), PutOptions{}).ETag
	for round := range 10 {
		var wins atomic.Int64
		var won atomic.Value
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				info, _, err := nodes[i%3].s.Put(t.Context(), "bucket", "k", strings.NewReader(fmt.Sprint(round, i)), PutOptions{IfMatch: etag})
				switch {
				case err == nil:
					wins.Add(1)
					won.Store(info.ETag)
				case !errors.Is(err, ErrPrecondition):
					t.Errorf("loser got %v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d winners", round, wins.Load())
		}
		etag = won.Load().(string)
		for _, n := range nodes {
			if st, err := n.s.Stat("bucket", "k"); err != nil || st.ETag != etag {
				t.Fatalf("round %d, %s: %+v, %v", round, n.id, st, err)
			}
		}
	}
}

// pausingReader calls hook once after some bytes.
type pausingReader struct {
	r     io.Reader
	after int
	hook  func()
}

func (p *pausingReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.after -= n; p.after <= 0 && p.hook != nil {
		p.hook()
		p.hook = nil
	}
	return n, err
}

func TestSlowClient(t *testing.T) {
	c := startCluster(&cluster{t: t, stall: 200 * time.Millisecond}, 3)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	body := randomBody(9, 4<<20)
	rest := func() { time.Sleep((patience + 2) * c.stall) } // no member is at fault
	r := &pausingReader{r: bytes.NewReader(body), after: 2 << 20, hook: rest}
	if info, _, err := n.s.Put(t.Context(), "bucket", "k", r, PutOptions{}); err != nil || info.Stored != 3 {
		t.Fatalf("stored %d, %v", info.Stored, err)
	}
}

func mustStat(t *testing.T, n *node) Info {
	t.Helper()
	st, err := n.s.Stat("bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestKnownBodiesAreNotSentAgain(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(7, 4<<20)
	sha := mustPut(t, nodes[0], "a", body, PutOptions{}).SHA256
	before := c.sent.Load()
	mustPut(t, nodes[1], "b", body, PutOptions{SHA256: sha, Size: int64(len(body))})
	mustPut(t, nodes[1], "c", body[:500<<10], PutOptions{})
	first := c.sent.Load()
	mustPut(t, nodes[2], "d", body[:500<<10], PutOptions{})
	if n := first - before; n > 2*(500<<10)+4096 {
		t.Errorf("%d bytes were sent for a body that all have", n)
	}
	if n := c.sent.Load() - first; n > 4096 {
		t.Errorf("%d bytes were sent for the second body that all have", n)
	}
}

// A node that waits for a quorum may have an empty catalog and the last copies.
func TestListPagesAgainstAMap(t *testing.T) {
	c := newCluster(t, 1)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	mustBucket(t, n, "bucket2")
	rapid.Check(t, func(rt *rapid.T) {
		model := map[string]bool{}
		all, _, err := n.s.List("bucket", "", "", MaxList)
		if err != nil {
			rt.Fatal(err)
		}
		for _, i := range all {
			model[i.Key] = true
		}
		keys := rapid.SliceOfN(rapid.StringMatching(`[ab/é]{1,4}`), 0, 12).Draw(rt, "keys")
		for _, k := range keys {
			if model[k] {
				err = n.s.Delete(context.Background(), "bucket", k, "")
				delete(model, k)
			} else {
				op, _ := catalog.EncodePut("bucket", k, catalog.Cond{}, catalog.Record{})
				_, err = n.s.propose(context.Background(), op)
				model[k] = true
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		prefix := rapid.StringMatching(`[ab/]{0,2}`).Draw(rt, "prefix")
		after := rapid.StringMatching(`[ab/]{0,3}`).Draw(rt, "after")
		limit := rapid.IntRange(1, 7).Draw(rt, "limit")
		var want, got []string
		for k := range model {
			if strings.HasPrefix(k, prefix) && k > after {
				want = append(want, k)
			}
		}
		slices.Sort(want)
		for next := after; ; {
			page, more, err := n.s.List("bucket", prefix, next, limit)
			if err != nil || len(page) > limit {
				rt.Fatalf("page of %d, limit %d: %v", len(page), limit, err)
			}
			for _, i := range page {
				got = append(got, i.Key)
			}
			if next = more; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("prefix %q after %q limit %d: %q, want %q", prefix, after, limit, got, want)
		}
	})
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	bodies := map[string][]byte{}
	var versions [][]byte
	for i, size := range []int{10, 70 << 10, 5000, 200 << 10} {
		versions = append(versions, randomBody(uint64(100+i), size))
	}
	bodies["k"] = versions[0]
	mustPut(t, nodes[0], "k", versions[0], PutOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				if _, _, err := n.s.Put(context.Background(), "bucket", "k", bytes.NewReader(versions[(i+j)%len(versions)]), PutOptions{}); err != nil {
					t.Errorf("put: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for last := uint64(0); ctx.Err() == nil; {
				o, err := n.s.Open(context.Background(), "bucket", "k")
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				b, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
				o.Body.Close()
				if err != nil || fmt.Sprintf("%x", sumOf(b)) != o.SHA256 {
					t.Errorf("version %d: read %d bytes of another body, %v", o.Version, len(b), err)
					return
				}
				if o.Version < last {
					t.Errorf("version %d came after %d", o.Version, last)
				}
				last = o.Version
				if _, _, err := n.s.List("bucket", "", "", 10); err != nil {
					t.Error(err)
				}
				n.s.Status()
			}
		})
	}
	wg.Wait()
}
