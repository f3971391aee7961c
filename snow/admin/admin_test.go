package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"rain/ring"
	"rain/store"
)

func TestObjectCodes(t *testing.T) {
	r := newRig(t, nil)
	const o = "/api/v1/objects/b/a/k%2Fx%20y"
	r.want(201, "PUT", o, "hello", "Content-Type: text/plain", "X-Rain-Meta-Colour: blue")
	h, body := r.want(200, "PUT", o, "hello world")
	var a ObjectAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.API != 1 || a.Key != "a/k/x y" || a.Size != 11 || a.Version != 2 {
		t.Fatalf("put answered %s (%v)", body, err)
	}
	etag := h.Get("ETag")
	if etag == "" || etag != a.ETag {
		t.Fatalf("ETag %q, info has %q", etag, a.ETag)
	}
	if _, body = r.want(200, "GET", o, ""); body != "hello world" {
		t.Errorf("get = %q", body)
	}
	h, body = r.want(200, "HEAD", o, "")
	if body != "" || h.Get("Content-Length") != "11" || h.Get("ETag") != etag {
		t.Errorf("head = %q %v", body, h)
	}
	h, body = r.want(206, "GET", o, "", "Range: bytes=6-")
	if body != "world" || h.Get("Content-Range") != "bytes 6-10/11" {
		t.Errorf("range = %q %q", body, h.Get("Content-Range"))
	}
	if h, _ = r.want(416, "GET", o, "", "Range: bytes=11-"); h.Get("Content-Range") != "bytes */11" {
		t.Errorf("416 has Content-Range %q", h.Get("Content-Range"))
	}
	r.want(200, "GET", o, "", "Range: bytes=6-", `If-Range: "old"`)
	r.want(304, "GET", o, "", "If-None-Match: W/"+etag)
	r.want(304, "GET", o, "", "If-Modified-Since: Fri, 01 Dec 2023 00:00:00 GMT")
	r.want(412, "GET", o, "", `If-Match: "other"`)
	r.want(412, "PUT", o, "x", `If-Match: "other"`)
	r.want(412, "PUT", o, "x", "If-None-Match: *")
	r.want(412, "DELETE", o, "", `If-Match: "other"`)
	r.want(422, "PUT", "/api/v1/objects/b/x//y", "x")
	r.want(422, "PUT", o, "x", `If-None-Match: "a"`)
	if got := r.raw("GET /api/v1/objects/b/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "+testToken+"\r\n\r\n", false); len(got) != 1 || got[0] != 400 {
		t.Errorf("a bad escape = %v, want 400", got)
	}
	r.want(404, "GET", "/api/v1/objects/b/none", "")
	r.want(404, "PUT", "/api/v1/objects/nobucket/k", "x")
	r.want(405, "POST", o, "")
	_, body = r.want(200, "GET", o+"?info", "")
	if !strings.Contains(body, `"survives":2`) {
		t.Errorf("info = %s", body)
	}
	r.want(204, "DELETE", o, "")
	r.want(404, "DELETE", o, "")
}

func TestStoreFailures(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{ring.ErrNotPrimary, 503, "no_quorum"}, {ring.ErrOutcomeUnknown, 503, "outcome_unknown"}, {store.ErrUnavailable, 503, "unavailable"},
		{store.ErrNoSpace, 507, "no_space"}, {store.ErrTooLarge, 413, "too_large"}, {errors.New("odd"), 500, "internal"},
	} {
		r.store.fail = c.err
		h, body := r.want(c.status, "PUT", "/api/v1/objects/b/k", "x")
		if !strings.Contains(body, `"code":"`+c.code+`"`) {
			t.Errorf("%v: %s", c.err, body)
		}
		if (c.status == 503) != (h.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q", c.err, h.Get("Retry-After"))
		}
	}
}

func TestBuckets(t *testing.T) {
	r := newRig(t, nil)
	r.want(201, "PUT", "/api/v1/objects/new", "")
	r.want(200, "PUT", "/api/v1/objects/new", "")
	for i := range 3 {
		r.want(201, "PUT", fmt.Sprintf("/api/v1/objects/new/p/%d", i), "x")
	}
	var l ListAnswer
	_, body := r.want(200, "GET", "/api/v1/objects/new?prefix=p/&limit=2", "")
	if err := json.Unmarshal([]byte(body), &l); err != nil || len(l.Objects) != 2 || l.Next != "p/1" {
		t.Fatalf("first page %s", body)
	}
	_, body = r.want(200, "GET", "/api/v1/objects/new/?after=p/1", "")
	l = ListAnswer{}
	if err := json.Unmarshal([]byte(body), &l); err != nil || len(l.Objects) != 1 || l.Next != "" {
		t.Fatalf("second page %s", body)
	}
	if _, body = r.want(200, "GET", "/api/v1/objects", ""); !strings.Contains(body, `["b","new"]`) {
		t.Errorf("buckets = %s", body)
	}
	r.want(422, "GET", "/api/v1/objects/new?limit=-1", "")
	r.want(405, "DELETE", "/api/v1/objects/new", "")
}

func TestTimeoutAnswers503(t *testing.T) {
	r := newRig(t, func(c *Config) { c.OpTimeout = 20 * time.Millisecond })
	r.store.block = make(chan struct{})
	_, body := r.want(503, "PUT", "/api/v1/objects/b/k", "x")
	if !strings.Contains(body, `"code":"timeout"`) {
		t.Errorf("answer %s", body)
	}
}

func TestAuthorisation(t *testing.T) {
	r := newRig(t, nil)
	h, _ := r.want(401, "GET", "/api/v1/status", "", "Authorization: ")
	if !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("401 has WWW-Authenticate %q", h.Get("WWW-Authenticate"))
	}
	r.want(200, "GET", "/api/v1/status", "", "Authorization: Basic YWRtaW46Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5")
	r.want(401, "GET", "/api/v1/status", "", "Authorization: Basic cm9vdDpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=")
	r.want(401, "GET", "/metrics", "", "Authorization: ")
	r.want(200, "GET", "/metrics", "")
	r.want(200, "GET", "/healthz", "", "Authorization: ")
	r.want(200, "GET", "/readyz", "", "Authorization: ")
	r.want(403, "POST", "/api/v1/nodes/n1/drain", "", "Sec-Fetch-Site: cross-site")
	r.want(403, "POST", "/api/v1/nodes/n1/drain", "", "Origin: http://evil.example")
	r.status.notReady = errors.New("no lease")
	if _, body := r.want(503, "GET", "/readyz", "", "Authorization: "); !strings.Contains(body, "no lease") {
		t.Errorf("readyz = %s", body)
	}
	for range loginBurst - 1 {
		r.want(401, "GET", "/api/v1/status", "", "Authorization: Bearer wrong-wrong-wrong-w")
	}
	limited := 0
	for range 20 {
		if res, _ := r.ask("GET", "/api/v1/status", "", "Authorization: Bearer wrong-wrong-wrong-w"); res.StatusCode == 429 {
			limited++
		}
	}
	if limited == 0 {
		t.Error("any number of wrong tokens was tried without a limit")
	}
	r.want(401, "GET", "/api/v1/status", "", "Authorization: ") // no attempt, so no limit
}

func TestLoginLimit(t *testing.T) {
	var l logins
	now := time.Unix(1000, 0)
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for range loginBurst {
		if l.blocked(a, now) {
			t.Fatal("blocked too early")
		}
		l.failed(a, now)
	}
	if !l.blocked(a, now) || !l.blocked(b, now) {
		t.Error("the /64 is not blocked")
	}
	if l.blocked(netip.MustParseAddr("192.0.2.1"), now) {
		t.Error("another address is blocked, too")
	}
	if l.blocked(a, now.Add(time.Second)) {
		t.Error("still blocked after a second")
	}
	for i := range 3 * loginClients {
		l.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(l.clients); n > loginClients+1 {
		t.Errorf("the table has grown to %d addresses", n)
	}
}

func TestPublicMetrics(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MetricsPublic = true })
	if _, body := r.want(200, "GET", "/metrics", "", "Authorization: "); body != "rain_up 1\n" {
		t.Errorf("metrics = %q", body)
	}
}

// The status has the very fields that contract and scripts name.
func TestStatusFields(t *testing.T) {
	r := newRig(t, nil)
	_, body := r.want(200, "GET", "/api/v1/status", "")
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Fields("api node cluster health sentence ring members links vips queue streams store tolerance warnings") {
		if f, ok := v[k]; !ok || f == nil {
			t.Errorf("the status has no %q", k)
		}
	}
	for typ, names := range map[reflect.Type]string{
		reflect.TypeFor[Ring]():       "state primary epoch view seq quorum_need lease_left_ms rotations_per_s hop_p50_us hop_p99_us regenerations",
		reflect.TypeFor[Member]():     "name id incarnation state since",
		reflect.TypeFor[Link]():       "a b link state rtt_us loss transitions since",
		reflect.TypeFor[VIP]():        "addr pool holder since moves cause gap_ms",
		reflect.TypeFor[Queue]():      "length claimed orphaned replayed entries",
		reflect.TypeFor[QueueEntry](): "id client method host path node offset state since",
		reflect.TypeFor[Stream]():     "session film node position_s sent_bytes since",
		reflect.TypeFor[Store]():      "objects stored_bytes missing_symbols repair_eta_s disk",
		reflect.TypeFor[Tolerance]():  "ring data safe_to_lose",
		reflect.TypeFor[Warning]():    "code text",
	} {
		has := " "
		for i := range typ.NumField() {
			has += strings.Split(typ.Field(i).Tag.Get("json"), ",")[0] + " "
		}
		for _, n := range strings.Fields(names) {
			if !strings.Contains(has, " "+n+" ") {
				t.Errorf("%v has no field %q, only%s", typ, n, has)
			}
		}
	}
	if _, body = r.want(200, "GET", "/api/v1/events?after=1", ""); !strings.Contains(body, `"last":3`) || strings.Contains(body, `"id":1,`) {
		t.Errorf("events = %s", body)
	}
	r.want(404, "GET", "/api/v1/nothing", "")
	r.want(404, "GET", "/nothing", "")
}

func TestSites(t *testing.T) {
	r := newRig(t, nil)
	const sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // hello
	manifest := `{"default":true,"files":{"index.html":{"sha256":"` + sha + `","size":5,"type":"text/html"}}}`
	r.want(409, "POST", "/api/v1/sites/a.example/publish", manifest)
	if _, body := r.want(200, "POST", "/api/v1/sites/a.example/missing", `{"sha256":["`+sha+`"]}`); !strings.Contains(body, sha) {
		t.Errorf("missing = %s", body)
	}
	r.want(422, "PUT", "/api/v1/sites/a.example/blobs/"+sha, "other")
	r.want(204, "PUT", "/api/v1/sites/a.example/blobs/"+sha, "hello")
	if _, body := r.want(200, "POST", "/api/v1/sites/a.example/missing", `{"sha256":["`+sha+`"]}`); !strings.Contains(body, `"missing":[]`) {
		t.Errorf("missing = %s", body)
	}
	_, body := r.want(200, "POST", "/api/v1/sites/a.example/publish", manifest)
	if !strings.Contains(body, `"version":1`) || len(r.sites.last.Files) != 1 {
		t.Errorf("publish = %s", body)
	}
	r.want(422, "POST", "/api/v1/sites/a.example/publish", `{"files":{"../x":{"sha256":"`+sha+`"}}}`)
	r.want(422, "POST", "/api/v1/sites/a.example/publish", `not json`)
	r.want(200, "POST", "/api/v1/sites/a.example/rollback", "")
	r.want(404, "POST", "/api/v1/sites/a.example/rollback", `{"version":7}`)
	r.want(405, "GET", "/api/v1/sites/a.example/rollback", "")
	r.want(200, "GET", "/api/v1/sites", "")
	r.want(204, "DELETE", "/api/v1/sites/a.example", "")
	r.want(404, "DELETE", "/api/v1/sites/b.example", "")
	r.want(404, "POST", "/api/v1/sites/a.example/odd", "")
}

func TestOrders(t *testing.T) {
	r := newRig(t, nil)
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-r.calls:
			if got != want {
				t.Errorf("called %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%q was not called", want)
		}
	}
	r.want(200, "POST", "/api/v1/nodes/n1/drain", "")
	expect("drain n1")
	r.want(421, "POST", "/api/v1/nodes/n2/drain", "")
	r.want(404, "POST", "/api/v1/nodes/n9/drain", "")
	r.want(200, "POST", "/api/v1/nodes/n2/undrain", "")
	expect("undrain n2")
	r.want(200, "POST", "/api/v1/vips/127.0.1.1/move", `{"node":"n2"}`)
	expect("move 127.0.1.1 n2")
	r.want(503, "POST", "/api/v1/vips/127.0.1.1/move", `{"node":"n3"}`)
	for verb, c := range map[string][2]string{
		"cut":    {`{"peer":"n2","link":"a","one_way":true}`, "cut n2 a true"},
		"heal":   {`{"peer":"n2"}`, "heal n2  false"},
		"drop":   {`{"peer":"n2","percent":2.5}`, "drop n2 2.5"},
		"delay":  {`{"peer":"n2","delay_ms":1.5,"node":"n1"}`, "delay n2 1.5ms"},
		"clear":  {"", "clear"},
		"crash":  {"{}", "crash"},
		"freeze": {"{}", "freeze"},
	} {
		r.want(200, "POST", "/api/v1/fault/"+verb, c[0])
		expect(c[1])
	}
	r.want(421, "POST", "/api/v1/fault/crash", `{"node":"n2"}`)
	r.want(422, "POST", "/api/v1/fault/cut", `{}`)
	r.want(422, "POST", "/api/v1/fault/drop", `{"peer":"n2","percent":101}`)
	r.want(404, "POST", "/api/v1/fault/burn", `{}`)
}

func TestFaultsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Fault = false })
	r.want(403, "POST", "/api/v1/fault/crash", `{}`)
}
