package demo

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestForPages(t *testing.T) {
	d := &demo{token: "t0ken", net: network{nodes: []nodeAddrs{{name: "n1", admin: netip.MustParseAddrPort("127.0.0.11:8081")}}}}
	h := d.forPages(d.authorised(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })))
	for _, c := range []struct {
		method, origin, auth string
		code                 int
		allowed              string
	}{
		{"OPTIONS", "http://127.0.0.11:8081", "", 204, "http://127.0.0.11:8081"},
		{"OPTIONS", "http://evil.example", "", 401, ""},
		{"OPTIONS", "", "", 401, ""},
		{"POST", "http://127.0.0.11:8081", "Bearer t0ken", 418, "http://127.0.0.11:8081"},
		{"POST", "http://127.0.0.11:8081", "", 401, "http://127.0.0.11:8081"},
		{"POST", "http://127.0.0.11:80810", "Bearer t0ken", 418, ""}, // answered, but no foreign page may read it
		{"POST", "", "Bearer t0ken", 418, ""},
	} {
		r := httptest.NewRequest(c.method, "/nodes/n1/start", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.code || got != c.allowed {
			t.Errorf("%s from %q: %d, allowed %q; want %d, %q", c.method, c.origin, w.Code, got, c.code, c.allowed)
		}
	}
}
