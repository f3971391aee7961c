package admin

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPage(t *testing.T) {
	r := newLiveRig(t, nil)
	h, body := r.want(200, "GET", "/", "", "Authorization: ", "Accept-Encoding: identity")
	if !strings.Contains(body, "<title>RAIN</title>") || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Cache-Control") != "no-cache" {
		t.Errorf("the page: %q %v", body, h)
	}
	csp := h.Get("Content-Security-Policy")
	const want = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' http://127.0.0.12:8081 http://n3.example http://127.0.0.10:81; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if csp != want {
		t.Errorf("policy %q,\n want %q", csp, want)
	}
	if h, body = r.want(200, "GET", "/", "", "Accept-Encoding: gzip"); h.Get("Content-Encoding") != "gzip" || body != "\x1f\x8bindex" || !strings.Contains(h.Get("Vary"), "Accept-Encoding") {
		t.Errorf("packed: %q %v", body, h)
	}
	r.want(304, "GET", "/", "", "Accept-Encoding: gzip", "If-None-Match: "+h.Get("ETag"))
	if h, _ = r.want(200, "GET", "/gui/gui-abc.js", "", "Authorization: ", "Accept-Encoding: identity"); !strings.Contains(h.Get("Cache-Control"), "immutable") || h.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("a script: %v", h)
	}
	if h, _ = r.want(200, "GET", "/gui/licences.txt", ""); h.Get("Cache-Control") != "no-cache" {
		t.Errorf("licences: %v", h)
	}
	for _, path := range []string{"/gui/", "/gui/index.html.gz", "/gui/..%2findex.html", "/gui/none-1.js"} {
		r.want(404, "GET", path, "")
	}
	r.want(405, "POST", "/", "x")
	r.want(401, "GET", "/other", "", "Authorization: ")
}

func TestPageIsMissing(t *testing.T) {
	r := newLiveRig(t, func(_ *Config, d *Deps) { d.UI = fstest.MapFS{} })
	if _, body := r.want(200, "GET", "/", "", "Authorization: "); !strings.Contains(body, "without npm") {
		t.Errorf("a build without the page says %q", body)
	}
	r.want(404, "GET", "/gui/x-1.js", "")
}

func TestCrossOrigin(t *testing.T) {
	r := newLiveRig(t, nil)
	const own, foreign = "http://127.0.0.12:8081", "http://evil.example"
	h, _ := r.want(204, "OPTIONS", "/api/v1/fault/cut", "", "Authorization: ", "Origin: "+own, "Access-Control-Request-Method: POST")
	if h.Get("Access-Control-Allow-Origin") != own || h.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" || h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Vary") != "Origin" {
		t.Errorf("preflight: %v", h)
	}
	if h, _ = r.want(401, "OPTIONS", "/api/v1/fault/cut", "", "Authorization: ", "Origin: "+foreign, "Access-Control-Request-Method: POST"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page's preflight: %v", h)
	}
	if h, _ = r.want(200, "GET", "/api/v1/status", "", "Origin: "+own); h.Get("Access-Control-Allow-Origin") != own {
		t.Errorf("status for another node's page: %v", h)
	}
	if h, _ = r.want(200, "GET", "/api/v1/status", "", "Origin: "+foreign); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("status for a foreign page: %v", h)
	}
	const body = `{"peer":"n2"}`
	r.want(200, "POST", "/api/v1/fault/cut", body, "Origin: "+own, "Sec-Fetch-Site: cross-site")
	if got := <-r.calls; got != "cut n2  false" {
		t.Errorf("did %q", got)
	}
	r.want(403, "POST", "/api/v1/fault/cut", body, "Origin: "+foreign, "Sec-Fetch-Site: cross-site")
	r.want(401, "POST", "/api/v1/fault/cut", body, "Origin: "+own, "Authorization: Bearer wrong-wrong-wrong-wrong")
	// A browser sends a remembered password by itself, so it opens nothing to
	// other origins.
	r.want(403, "POST", "/api/v1/fault/cut", body, "Origin: "+own, "Sec-Fetch-Site: cross-site", "Authorization: Basic YWRtaW46Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5")
	if s := r.open("?parts=ring", "Origin: "+own); s.res.Header.Get("Access-Control-Allow-Origin") != own || s.res.Header.Get("Vary") != "Origin" {
		t.Errorf("live for another node's page: %v", s.res.Header)
	}
}

func FuzzOrigins(f *testing.F) {
	for _, s := range []string{"http://a:1", "https://A.b:443/x", "http://[::1]:80", "http://a b", "http://x;y", "http://u:p@h", "javascript:1", "http://é", "http://[fe80::1%25lo]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, o := range origins([]string{s}) {
			if strings.ContainsAny(o, " ;,'\"\\\r\n\t@*%<>") || !slices.Equal(origins([]string{o}), []string{o}) {
				t.Errorf("%q becomes the origin %q", s, o)
			}
		}
	})
}
