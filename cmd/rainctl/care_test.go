package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"rain/snow/admin"
	"rain/store"
)

// careNode answers orders to the store; each answer comes from steps, the last
// one again and again.
type careNode struct {
	mu    sync.Mutex
	asked []string
	steps []admin.CareAnswer
}

func (n *careNode) serve(t *testing.T) (env map[string]string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n.mu.Lock()
		defer n.mu.Unlock()
		if !strings.HasPrefix(r.URL.Path, "/api/v1/") {
			return
		}
		n.asked = append(n.asked, r.Method+" "+r.URL.Path+" "+string(body))
		var v any
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v1/store"):
			v = n.steps[0]
			if len(n.steps) > 1 {
				n.steps = n.steps[1:]
			}
		case r.URL.Path == "/api/v1/layout":
			missing, in := 3, int64(90)
			v = admin.LayoutAnswer{API: 1, Version: 4, RebuildAfterS: 3600, Nodes: []admin.LayoutNode{
				{Name: "n1", Role: "storage", State: "up", Symbols: 2, Missing: &missing, MissingB: 1 << 20, ETAS: 5},
				{Name: "n2", Role: "storage", State: "down", AwayS: 10, RebuildInS: &in, Symbols: 7},
				{Name: "evil\x1b[31m", Role: "leaving", State: "up", Moving: 2, Stuck: 1, Heir: "n3"},
			}}
		case r.URL.Path == "/api/v1/objects":
			v = admin.BucketsAnswer{API: 1, Buckets: []string{"films"}, Infos: []store.BucketInfo{{Name: "films", N: 4, K: 2, Own: true, MinSurvives: 1, Objects: 5}}}
		case r.Method == "PUT":
			v = admin.BucketAnswer{API: 1, Bucket: "films", Created: true, BucketInfo: &store.BucketInfo{Name: "films", N: 4, K: 2, MinSurvives: 1}}
		default:
			v = done{1, "done"}
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return map[string]string{"RAIN_ADMIN": s.URL, "RAIN_TOKEN": "tok"}
}

// answer is what a node tells of two, of which one may be away.
func answer(missing int, repaired int64, checking bool) admin.CareAnswer {
	return admin.CareAnswer{API: 1, Node: "n1", Missing: missing, Repaired: repaired, Unanswered: []string{}, Nodes: []store.NodeCare{
		{Node: "n1", CareReport: store.CareReport{Missing: missing, RepairedBytes: repaired, Check: &store.CheckReport{Running: checking, Pieces: 3, Bytes: 4096, Bad: 1},
			Rewrite: &store.RewriteReport{Running: checking, Bucket: "b", Objects: 2}}},
	}}
}

func TestStoreVerbsWait(t *testing.T) {
	n := &careNode{steps: []admin.CareAnswer{answer(4, 100, true), answer(2, 150, true), answer(0, 190, false)}}
	got := ctl(t, "", n.serve(t), "store", "repair", "--json")
	var r careResult
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || got.code != 0 || r.API != 1 || r.Missing != 0 || r.Written != 90 || r.Order != "repair" {
		t.Errorf("repair = %d %s %s", got.code, got.out, got.errOut)
	}
	if len(n.asked) != 3 || !strings.HasPrefix(n.asked[0], "POST /api/v1/store/repair") || !strings.HasPrefix(n.asked[2], "GET /api/v1/store ") {
		t.Errorf("asked %q", n.asked)
	}
	n = &careNode{steps: []admin.CareAnswer{answer(0, 0, true), answer(0, 0, false)}}
	if got := ctl(t, "", n.serve(t), "store", "check"); got.code != 0 || !strings.Contains(got.out, "4.0 KiB") || !strings.Contains(got.out, "1 files") && !strings.Contains(got.out, "n1") {
		t.Errorf("check = %d %s %s", got.code, got.out, got.errOut)
	}
	n = &careNode{steps: []admin.CareAnswer{answer(0, 0, true), answer(0, 0, false)}}
	if got := ctl(t, "", n.serve(t), "store", "rewrite", "b"); got.code != 0 || !strings.Contains(got.out, "2 objects of b") || !strings.Contains(n.asked[0], `{"bucket":"b"}`) {
		t.Errorf("rewrite = %d %s %s %q", got.code, got.out, got.errOut, n.asked)
	}
	failed := answer(0, 0, false)
	failed.Nodes[0].Rewrite.Error = "no space"
	n = &careNode{steps: []admin.CareAnswer{failed}}
	if got := ctl(t, "", n.serve(t), "store", "rewrite", "b", "--json"); got.code != 1 {
		t.Errorf("a failed rewrite = %d %s", got.code, got.out)
	}
	n = &careNode{steps: []admin.CareAnswer{answer(4, 0, true)}}
	if got := ctl(t, "", n.serve(t), "store", "repair", "--for", "1ms"); got.code != 5 || !strings.Contains(got.errOut, "4 symbols") {
		t.Errorf("not in time = %d %s %s", got.code, got.out, got.errOut)
	}
}

func TestStoreGC(t *testing.T) {
	a := answer(0, 0, false)
	a.Removed, a.RemovedB, a.Unanswered = 3, 2048, []string{"n2"}
	a.Nodes = append(a.Nodes, store.NodeCare{Node: "n2", Error: "is away"}, store.NodeCare{Node: "n3", CareReport: store.CareReport{Orphans: 2, Kept: "no quorum"}})
	n := &careNode{steps: []admin.CareAnswer{a}}
	got := ctl(t, "", n.serve(t), "store", "gc", "--grace", "0s")
	for _, want := range []string{"3 files removed, 2.0 KiB", "no answer from n2", "n3 removed nothing: no quorum"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("gc does not say %q: %s", want, got.out)
		}
	}
	if got.code != 5 || !strings.Contains(n.asked[0], `{"grace_ms":0}`) {
		t.Errorf("gc = %d, asked %q", got.code, n.asked)
	}
	n = &careNode{steps: []admin.CareAnswer{answer(0, 0, false)}}
	if got := ctl(t, "", n.serve(t), "store", "gc"); got.code != 0 || !strings.HasSuffix(n.asked[0], " {}") {
		t.Errorf("gc = %d, asked %q", got.code, n.asked)
	}
	if got := ctl(t, "", n.serve(t), "store", "gc", "--grace", "-1s"); got.code != 2 {
		t.Errorf("a negative grace = %d", got.code)
	}
}

func TestLayoutVerbs(t *testing.T) {
	n := &careNode{}
	env := n.serve(t)
	got := ctl(t, "", env, "layout", "show")
	for _, want := range []string{"version 4", "1h0m0s", "3 symbols (1.0 MiB) to come, about 5 s", "down for 10s", "rebuilt on spares in 1m30s", "1 symbols stay", "replaced by n3"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("layout show does not say %q:\n%s", want, got.out)
		}
	}
	if strings.Contains(got.out, "\x1b") {
		t.Error("a node's name can steer the terminal")
	}
	for _, c := range [][2]string{
		{"add n5", `POST /api/v1/layout/add {"by":"","node":"n5"}`},
		{"remove n1", `POST /api/v1/layout/remove {"by":"","node":"n1"}`},
		{"replace n1 n5", `POST /api/v1/layout/replace {"by":"n5","node":"n1"}`},
	} {
		n.asked = nil
		if got := ctl(t, "", env, strings.Fields("layout "+c[0])...); got.code != 0 || fmt.Sprint(n.asked) != "["+c[1]+"]" {
			t.Errorf("layout %s = %d, asked %q", c[0], got.code, n.asked)
		}
	}
}

func TestBucketVerbs(t *testing.T) {
	n := &careNode{}
	env := n.serve(t)
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{0, "bucket create films --code 4,2 --min-survives 1", "made bucket films: code 4,2, min_survives 1"},
		{0, "bucket ls", "the bucket"},
		{0, "bucket info films", "films: code 4,2, min_survives 1, 5 objects"},
		{0, "bucket info films --get n", "4"},
		{4, "bucket info none", ""},
		{2, "bucket create films --min-survives -1", ""},
		{2, "bucket create films --code 40,2", ""},
	} {
		if got := ctl(t, "", env, strings.Fields(c.args)...); got.code != c.code || !strings.Contains(got.out, c.says) {
			t.Errorf("%s = %d %s%s", c.args, got.code, got.out, got.errOut)
		}
	}
	if want := `PUT /api/v1/objects/films {"code":"4,2","min_survives":1}`; n.asked[0] != want {
		t.Errorf("asked %q, want %q", n.asked[0], want)
	}
}
