package labtest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"rain/snow/admin"
)

var flagWeather = flag.Duration("weather", 10*time.Second, "how long the bad weather lasts; 5m offline")

// TestBadWeather: every cable loses 5 % of what a host sends, sends 2 % twice and
// has 2 % come late, so each frame between two hosts meets it once. Nobody is
// removed, and big bytes arrive whole.
func TestBadWeather(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0))
	l.weather("laptop", map[string]string{"drop": "5", "double": "2", "late": "2"})
}

// TestFarAway: the same with 20 ms more each way, and the preset for that.
func TestFarAway(t *testing.T) {
	l := up(t, "../small.toml", func(s string) string {
		return strings.Replace(withVIPs(0)(s), `"laptop"`, `"wan"`, 1)
	})
	l.weather("wan", map[string]string{"delay": "20", "drop": "5", "double": "2", "late": "2"})
}

// weather lets it rain and looks what became of the view, the paths and a get.
func (l *lab) weather(preset string, faults map[string]string) {
	l.t.Helper()
	const size = 2 << 20
	l.makeBucket("weather")
	rate := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
	fairPut, fairGet := l.object(0, size)
	number := l.views(l.nodes)["n1"].number
	for _, n := range l.nodes {
		for _, s := range []string{"s1", "s2"} {
			for verb, value := range faults {
				l.do(verb, n+"-"+s, value, "--one-way")
			}
		}
	}
	time.Sleep(time.Second) // the change itself is no weather
	begun := time.Now()
	before := l.transitions()
	var puts, gets time.Duration
	rounds := 0
	for end := time.Now().Add(*flagWeather); time.Now().Before(end); time.Sleep(time.Second) {
		rounds++
		put, get := l.object(rounds, size)
		puts, gets = puts+put, gets+get
		l.same("bad weather", number)
		if l.t.Failed() {
			break
		}
	}
	after := l.transitions()
	lasted := time.Since(begun)
	worst := 0
	for path, n := range after {
		worst = max(worst, n-before[path])
	}
	n := time.Duration(rounds)
	l.t.Logf("preset %s, %v for %v: %d changes of the view; %d transitions on %d ends of paths, %d at most on one; 2 MiB put at %.1f MB/s and got at %.1f MB/s before, %.2f and %.2f on average of %d in it",
		preset, faults, lasted.Round(time.Second), l.views(l.nodes)["n1"].number-number, total(after)-total(before), len(after), worst, rate(fairPut), rate(fairGet), rate(puts/n), rate(gets/n), rounds)
	// With hysteresis a path needs 2, 4, 8 ... 64 echoes to be up again, and stays
	// down meanwhile: it cannot flap for ever.
	if most := 20 + int(lasted.Minutes()*4); worst > most {
		l.t.Errorf("a path changed %d times, more than %d", worst, most)
	}
}

// transitions counts the changes of all paths, at both ends.
func (l *lab) transitions() map[string]int {
	l.t.Helper()
	out := map[string]int{}
	for _, n := range l.nodes {
		var a admin.LinksAnswer
		if err := l.ask(n, "/api/v1/links", &a); err != nil {
			l.t.Fatal(err)
		}
		for _, x := range a.Links {
			out[fmt.Sprintf("%s to %s by %s", x.A, x.B, x.Link.Link)] = int(x.Transitions)
		}
	}
	return out
}

func total(m map[string]int) (n int) {
	for _, x := range m {
		n += x
	}
	return n
}

// noise is an object's bytes; no two objects share any.
func noise(number, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(number), byte(number >> 8)}).Read(b) // never fails
	return b
}

func (l *lab) makeBucket(name string) {
	l.t.Helper()
	l.until("bucket", 30*time.Second, func() bool {
		resp, err := l.send("n1", http.MethodPut, "/api/v1/objects/"+name, nil)
		if err != nil {
			return false
		}
		_ = resp.Body.Close() // its status says all
		return resp.StatusCode/100 == 2
	})
}

// object puts new bytes by one node and gets them by another one, which has to
// fetch them from others, and says how long each took.
func (l *lab) object(number, size int) (put, get time.Duration) {
	l.t.Helper()
	path, body := fmt.Sprintf("/api/v1/objects/weather/%d", number), noise(number, size)
	start := time.Now()
	for i, ask := range []struct{ host, method string }{{"n1", http.MethodPut}, {"n4", http.MethodGet}} {
		sent := body
		if i == 1 {
			sent = nil
		}
		resp, err := l.send(ask.host, ask.method, path, sent)
		if err != nil {
			l.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all of it is read
		if err != nil || resp.StatusCode/100 != 2 || i == 1 && !bytes.Equal(b, body) {
			l.t.Fatalf("%s of %s: %s, %d bytes, %v", ask.method, path, resp.Status, len(b), err)
		}
		if i == 0 {
			put, start = time.Since(start), time.Now()
		}
	}
	return put, time.Since(start)
}

// send asks the node in a host for something; a body may take long.
func (l *lab) send(host, method, path string, body []byte) (*http.Response, error) {
	c, err := l.door(host)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, "http://127.0.0.1:8081"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	long := *c
	long.Timeout = time.Minute
	return long.Do(req)
}
