//go:build unix

package contract

import (
	"encoding/json"
	"strings"
	"testing"
)

// Idempotency-Key on the object API: a repeat at any node gets the first answer.
func (c *cluster) testKeys(t *testing.T) {
	url := func(node int, key string) string { return c.Nodes[node].Admin + "/api/v1/objects/keys/" + key }
	c.do(t, "PUT", c.Nodes[0].Admin+"/api/v1/objects/keys", "", nil)
	key := map[string]string{"Idempotency-Key": `"one"`, "If-None-Match": "*"}
	first := c.do(t, "PUT", url(0, "k"), "v", key)
	if first.code != 201 {
		t.Fatalf("PUT with a key: %d %s", first.code, first.body)
	}
	for i := range c.Nodes {
		a := c.do(t, "PUT", url(i, "k"), "v", key)
		if a.code != 201 || a.body != first.body || a.header.Get("Idempotency-Replayed") != "true" || a.header.Get("ETag") != first.header.Get("ETag") {
			t.Errorf("the repeat at node %d: %d %s", i+1, a.code, a.body)
		}
	}
	if a := c.do(t, "PUT", url(1, "k"), "w", key); a.code != 422 {
		t.Errorf("another body: %d %s", a.code, a.body)
	}
	if a := c.do(t, "PUT", url(1, "k"), "v", map[string]string{"Idempotency-Key": "a b"}); a.code != 400 {
		t.Errorf("a bad key: %d %s", a.code, a.body)
	}
	gone := map[string]string{"Idempotency-Key": "two"}
	for i := range 2 {
		if a := c.do(t, "DELETE", url(i, "k"), "", gone); a.code != 204 {
			t.Errorf("DELETE with a key at node %d: %d %s", i+1, a.code, a.body)
		}
	}
}

// POST /guestbook on the demo's VIPs, GET lists all.
func (c *cluster) testGuestbook(t *testing.T) {
	text := "hello <b>world</b>"
	key := func(k string) map[string]string {
		return map[string]string{"Authorization": "", "Content-Type": "text/plain", "Idempotency-Key": k}
	}
	first := c.do(t, "POST", "http://"+c.VIPs[0]+"/guestbook", text, key(`"K"`))
	var told struct {
		ID  uint64 `json:"id"`
		Key string `json:"key"`
	}
	if err := json.Unmarshal([]byte(first.body), &told); err != nil || first.code != 201 || told.ID == 0 || told.Key != "K" {
		t.Fatalf("POST: %d %s", first.code, first.body)
	}
	urls := []string{"http://" + c.VIPs[0], "http://" + c.VIPs[1]}
	for _, n := range c.Nodes {
		urls = append(urls, n.HTTP)
	}
	for _, u := range urls {
		a := c.do(t, "POST", u+"/guestbook", text, key("K"))
		if a.code != 201 || a.body != first.body || a.header.Get("Idempotency-Replayed") != "true" || a.header.Get("X-Rain-Node") != first.header.Get("X-Rain-Node") {
			t.Errorf("the repeat at %s: %d %s by %s", u, a.code, a.body, a.header.Get("X-Rain-Node"))
		}
		if a := c.do(t, "POST", u+"/guestbook", "other", key("K")); a.code != 422 {
			t.Errorf("another body at %s: %d %s", u, a.code, a.body)
		}
		var list struct {
			Entries []struct {
				ID        uint64 `json:"id"`
				Key, Text string
			}
		}
		a = c.do(t, "GET", u+"/guestbook", "", map[string]string{"Authorization": ""})
		if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.code != 200 {
			t.Fatalf("GET at %s: %d %s", u, a.code, a.body)
		}
		if e := list.Entries; len(e) != 1 || e[0].ID != told.ID || e[0].Key != "K" || e[0].Text != text {
			t.Errorf("the book at %s: %s", u, a.body)
		}
		a = c.do(t, "GET", u+"/guestbook", "", map[string]string{"Authorization": "", "Accept": "text/html"})
		if a.code != 200 || !strings.Contains(a.body, "hello &lt;b&gt;world") {
			t.Errorf("the page at %s: %d %.500s", u, a.code, a.body)
		}
	}
	if a := c.do(t, "POST", urls[0]+"/guestbook", strings.Repeat("x", 4097), key("L")); a.code != 413 {
		t.Errorf("a long text: %d", a.code)
	}
	if a := c.do(t, "POST", urls[0]+"/guestbook", strings.Repeat("x", 4096), key("L")); a.code != 201 {
		t.Errorf("4 KiB: %d %s", a.code, a.body)
	}
}
