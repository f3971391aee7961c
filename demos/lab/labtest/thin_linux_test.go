package labtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestThinCables: the cables of one host lose packets of more than 1,280 bytes, as a
// switch or tunnel does that is set to less than the interfaces. Nobody is told. The
// view stays, ops are confirmed, and big bytes come through both ways.
func TestThinCables(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0))
	l.makeBucket("weather")
	const size = 2 << 20
	fairPut, fairGet := l.object(0, size)
	number := l.views(l.nodes)["n1"].number
	for _, c := range []string{"n1-s1", "n1-s2"} {
		l.do("mtu", c, "1280")
	}
	before := l.transitions()
	// A token that many ops make long.
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			path := fmt.Sprintf("/api/v1/objects/weather/small%d", i)
			resp, err := l.send(l.nodes[i%len(l.nodes)], http.MethodPut, path, noise(1000+i, 900))
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close() // its status says all
			if resp.StatusCode/100 != 2 {
				t.Errorf("put %d: %s", i, resp.Status)
			}
		})
	}
	wg.Wait()
	l.same("thin cables, many ops", number)
	var puts, gets [3]time.Duration
	for i := range puts {
		puts[i], gets[i] = l.object(i+1, size)
	}
	l.same("thin cables, big objects", number)
	after := l.transitions()
	if n := total(after) - total(before); n > 0 {
		t.Errorf("%d transitions of paths", n)
	}
	lost := l.lost("n1-s1") + l.lost("n1-s2")
	if lost == 0 {
		t.Error("the cables lost nothing: no long packet was tried")
	}
	if !l.logged("n1", "long packets are lost") {
		t.Error("n1 did not tell the operator that long packets are lost")
	}
	t.Logf("2 MiB put and got within %v and %v before; with cables for 1,280 bytes %v and %v; %d packets lost", fairPut, fairGet, puts, gets, lost)
}

// lost is how many frames a cable has dropped, both ways.
func (l *lab) lost(cable string) (n uint64) {
	l.t.Helper()
	var st struct {
		Links []struct {
			Name string `json:"name"`
			Sent [2]struct {
				Dropped uint64 `json:"dropped"`
			} `json:"sent"`
		} `json:"links"`
	}
	if err := json.Unmarshal(l.do("status"), &st); err != nil {
		l.t.Fatal(err)
	}
	for _, x := range st.Links {
		if x.Name == cable {
			n += x.Sent[0].Dropped + x.Sent[1].Dropped
		}
	}
	return n
}
