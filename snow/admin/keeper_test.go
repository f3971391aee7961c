package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rain/store"
)

// fakeKeeper has two nodes, one of them away; its store keeps the buckets.
type fakeKeeper struct {
	*fakeStore
	calls   chan string
	missing int
}

func (f *fakeKeeper) MakeBucket(ctx context.Context, name string, spec store.BucketSpec) (bool, error) {
	switch {
	case spec.Code.N > 4:
		return false, fmt.Errorf("fake: %w", store.ErrBadCode)
	case spec.MinSurvives > 0 && name == "b":
		return false, fmt.Errorf("fake: %w", store.ErrOtherBucket)
	}
	return f.CreateBucket(ctx, name)
}

func (f *fakeKeeper) Bucket(name string) (store.BucketInfo, error) {
	return store.BucketInfo{Name: name, N: 4, K: 2, MinSurvives: 1}, nil
}

func (f *fakeKeeper) Layout() LayoutAnswer {
	in := int64(60)
	return LayoutAnswer{Version: 7, Nodes: []LayoutNode{{Name: "n2", Role: "storage", State: "down", RebuildInS: &in}}}
}

func (f *fakeKeeper) ChangeLayout(_ context.Context, verb, node, by string) error {
	switch node {
	case "n9":
		return fmt.Errorf("fake: %w", ErrNotFound)
	case "n8":
		return fmt.Errorf("fake: %w: bucket x: %w", store.ErrLayout, store.ErrBadCode)
	}
	f.calls <- verb + " " + node + " " + by
	return nil
}

func (f *fakeKeeper) Care(_ context.Context, o store.CareOrder) ([]store.NodeCare, error) {
	f.calls <- fmt.Sprint(o.Do, " ", o.GraceMS)
	return []store.NodeCare{
		{Node: "n1", CareReport: store.CareReport{Missing: f.missing, LeftBytes: 9, RepairedBytes: 5, Removed: 2, RemovedBytes: 20, Check: &store.CheckReport{Bad: 3}}},
		{Node: "n2", CareReport: store.CareReport{RepairedBytes: 6, Check: &store.CheckReport{Running: o.Do == store.CareCheck}}},
		{Node: "n3", Error: "is away"},
	}, nil
}

func (f *fakeKeeper) StartRewrite(bucket string) error {
	switch bucket {
	case "busy":
		return fmt.Errorf("fake: %w", store.ErrBusy)
	case "":
		return fmt.Errorf("fake: %w", store.ErrBadName)
	}
	return nil
}

func TestBucketWishes(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		status int
		name   string
		body   string
		want   string
	}{
		{201, "new1", `{"code":"4,2","min_survives":1}`, `"min_survives":1`},
		{200, "new1", ``, `"bucket":"new1","created":false`},
		{201, "new2", `{"code":"auto"}`, `"n":4,"k":2`},
		{422, "new3", `{"code":"6,4"}`, "bad_code"},
		{422, "new3", `{"code":"2,3"}`, "bad_code"},
		{422, "new3", `{"code":"4,2,1"}`, "bad_code"},
		{422, "new3", `{"code":4}`, "bad_input"},
		{409, "b", `{"min_survives":1}`, "conflict"},
	} {
		if _, got := r.want(c.status, "PUT", "/api/v1/objects/"+c.name, c.body); !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %s does not say %s", c.name, c.body, got, c.want)
		}
	}
	var a BucketsAnswer
	_, got := r.want(200, "GET", "/api/v1/objects", "")
	if err := json.Unmarshal([]byte(got), &a); err != nil || len(a.Infos) != len(a.Buckets) || a.Infos[0].MinSurvives != 1 {
		t.Errorf("buckets %s, %v", got, err)
	}
	r.store.fail = fmt.Errorf("%w: 2 of 3", store.ErrTooWeak)
	if _, got := r.want(412, "PUT", "/api/v1/objects/b/k", "x"); !strings.Contains(got, "too_weak") {
		t.Errorf("a put below the promise: %s", got)
	}
}

func TestLayoutEndpoint(t *testing.T) {
	r := newRig(t, nil)
	if _, got := r.want(200, "GET", "/api/v1/layout", ""); !strings.Contains(got, `"api":1,"version":7`) || !strings.Contains(got, `"missing_symbols":null`) || !strings.Contains(got, `"rebuild_in_s":60`) {
		t.Errorf("layout %s", got)
	}
	r.want(200, "POST", "/api/v1/layout/replace", `{"node":"n1","by":"n5"}`)
	if got := <-r.calls; got != "replace n1 n5" {
		t.Errorf("called %q", got)
	}
	for _, c := range []struct {
		status       int
		method, path string
		body         string
	}{
		{404, "POST", "add", `{"node":"n9"}`}, {409, "POST", "remove", `{"node":"n8"}`}, {422, "POST", "add", ``},
		{422, "POST", "replace", `{"node":"n1"}`}, {404, "POST", "burn", `{"node":"n1"}`}, {405, "GET", "add", ``}, {404, "POST", "add/x", `{}`},
	} {
		r.want(c.status, c.method, "/api/v1/layout/"+c.path, c.body)
	}
	r.want(401, "GET", "/api/v1/layout", "", "Authorization: ")
}

func TestCareEndpoint(t *testing.T) {
	r := newRig(t, nil)
	ask := func(method, path, body, order string) (a CareAnswer) {
		t.Helper()
		_, got := r.want(200, method, "/api/v1/store"+path, body)
		if err := json.Unmarshal([]byte(got), &a); err != nil {
			t.Fatal(err)
		}
		if did := <-r.calls; did != order {
			t.Errorf("%s %s: ordered %q, want %q", method, path, did, order)
		}
		return a
	}
	a := ask("GET", "", "", "status 0")
	if a.Repaired != 11 || a.Bad != 3 || a.LeftBytes != 9 || len(a.Unanswered) != 1 || a.Unanswered[0] != "n3" || a.Done || len(a.Nodes) != 3 {
		t.Errorf("sums: %+v", a)
	}
	ask("POST", "/check", "", "check 0")
	ask("POST", "/repair", "", "repair 0")
	ask("POST", "/gc", "", "gc -1")
	if a := ask("POST", "/gc", `{"grace_ms":0}`, "gc 0"); a.Removed != 2 || a.RemovedB != 20 {
		t.Errorf("gc: %+v", a)
	}
	ask("POST", "/rewrite", `{"bucket":"b"}`, "status 0")
	r.want(422, "POST", "/api/v1/store/gc", `{"grace_ms":-5}`)
	r.want(409, "POST", "/api/v1/store/rewrite", `{"bucket":"busy"}`)
	r.want(422, "POST", "/api/v1/store/rewrite", "")
	r.want(404, "POST", "/api/v1/store/burn", "")
	r.want(404, "POST", "/api/v1/store/open", "") // between nodes only
	r.want(405, "GET", "/api/v1/store/check", "")
	r.want(405, "POST", "/api/v1/store", "")
}

func TestCodeOfABucketOrder(t *testing.T) {
	for in, want := range map[string]store.Code{"": {}, "auto": {}, "4,2": {N: 4, K: 2}, "32,1": {N: 32, K: 1}} {
		if got, err := (BucketOrder{Code: in}).Spec(); err != nil || got.Code != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"4", "4,", ",2", "2,4", "33,2", "4,0", "4,2 ", "4,2x", "-4,-2", "auto,1"} {
		if _, err := (BucketOrder{Code: in}).Spec(); !errors.Is(err, store.ErrBadCode) {
			t.Errorf("%q was taken: %v", in, err)
		}
	}
}
