//go:build unix

package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// testFaults holds the faults of links to the truth: a cut stops the token and
// the bulk path, the minority says so, and after the heal there is one view.
func (c *cluster) testFaults(t *testing.T) {
	ctl := func(code int, args ...string) result {
		return want(t, code, "rainctl", append([]string{"--cluster", c.file(), "--json", "fault"}, args...)...)
	}
	one := c.Nodes[0]
	// A striped object that n1 has only a part of: it must fetch the rest.
	body := strings.Repeat("0123456789abcdef", 256<<10)
	c.do(t, "PUT", c.Nodes[1].Admin+"/api/v1/objects/faults", "", nil)
	if a := c.do(t, "PUT", c.Nodes[1].Admin+"/api/v1/objects/faults/big", body, nil); a.code != 201 {
		t.Fatalf("put: %d %s", a.code, a.body)
	}
	for _, b := range []string{"n2", "n3", "n4"} {
		ctl(0, "cut", "n1", b)
	}
	eventually(t, "n1 to be isolated", func() error {
		a, err := c.try("GET", one.HTTP+"/", nil, map[string]string{"Authorization": "", "Host": c.Host})
		if err == nil && a.header.Get("X-Rain-State") != "isolated" {
			err = fmt.Errorf("%d, X-Rain-State %q", a.code, a.header.Get("X-Rain-State"))
		}
		return err
	})
	if a, err := c.try("GET", one.Admin+"/api/v1/objects/faults/big", nil, nil); err == nil && a.code == 200 {
		t.Errorf("n1 is cut off and has fetched %d bytes by the bulk path", len(a.body))
	}
	eventually(t, "every VIP at the other three", func() error {
		for _, v := range c.VIPs {
			a, err := c.try("GET", "http://"+v+"/", nil, map[string]string{"Authorization": "", "Host": c.Host})
			if err == nil && (a.code != 200 || a.header.Get("X-Rain-Node") == "n1") {
				err = fmt.Errorf("%s: %d from %s", v, a.code, a.header.Get("X-Rain-Node"))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if list := c.linkFaults(t, 1); len(list) != 3 || !list[0].CutIn || !list[0].CutOut || list[0].Peer != "n2" || list[0].Link == "" {
		t.Errorf("n1 tells of %+v", list)
	}
	for _, b := range []string{"n2", "n3"} {
		ctl(0, "heal", "n1", b)
	}
	ctl(0, "heal", "n4", "n1") // from the other end
	c.healthy(t)
	eventually(t, "the object at n1", func() error {
		a, err := c.try("GET", one.Admin+"/api/v1/objects/faults/big", nil, nil)
		if err == nil && a.body != body {
			err = fmt.Errorf("%d, %d bytes", a.code, len(a.body))
		}
		return err
	})
	c.testLesserFaults(t, ctl)
	c.testFaultsRefused(t, ctl)
}

type linkFault struct {
	Peer, Link string
	CutIn      bool    `json:"cut_in"`
	CutOut     bool    `json:"cut_out"`
	Drop       float64 `json:"drop_percent"`
	DelayMS    float64 `json:"delay_ms"`
}

func (c *cluster) linkFaults(t *testing.T, node int) []linkFault {
	t.Helper()
	var s struct{ Faults []linkFault }
	if err := json.Unmarshal([]byte(c.do(t, "GET", c.Nodes[node-1].Admin+"/api/v1/status", "", nil).body), &s); err != nil {
		t.Fatal(err)
	}
	return s.Faults
}

func (c *cluster) testLesserFaults(t *testing.T, ctl func(int, ...string) result) {
	link := ""
	ctl(0, "delay", "n3", "n4", "5")
	ctl(0, "drop", "n3", "n4", "2.5")
	if list := c.linkFaults(t, 3); len(list) != 1 || list[0].Drop != 2.5 || list[0].DelayMS != 5 || list[0].Peer != "n4" {
		t.Errorf("delay and drop: %+v", list)
	} else {
		link = list[0].Link
	}
	eventually(t, "a round trip that is delayed both ways", func() error {
		var s struct {
			Links []struct {
				B   string
				RTT int64 `json:"rtt_us"`
			}
		}
		a, err := c.try("GET", c.Nodes[2].Admin+"/api/v1/status", nil, nil)
		if err == nil {
			err = json.Unmarshal([]byte(a.body), &s)
		}
		for _, l := range s.Links {
			if l.B == "n4" && l.RTT >= 10_000 {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", s.Links))
	})
	ctl(0, "clear")
	ctl(0, "cut", "n3", "n4", "--one-way", "--link", link)
	if list := c.linkFaults(t, 3); len(list) != 1 || list[0].CutIn || !list[0].CutOut || list[0].Drop != 0 {
		t.Errorf("a one-way cut after clear: %+v", list)
	}
	ctl(0, "heal", "n3", "n4", "--link", link)
	if list := c.linkFaults(t, 3); len(list) != 0 {
		t.Errorf("after the heal: %+v", list)
	}
	c.healthy(t)
	ctl(2, "cut", "n1", "n1")
	ctl(4, "cut", "n1", "n9")
	ctl(4, "cut", "n1", "n2", "--link", "none")
	ctl(3, "drop", "n1", "n2", "101")
	ctl(4, "thaw", "n9")
}

// "refused with 7 unless [fault] allow"
func (c *cluster) testFaultsRefused(t *testing.T, ctl func(int, ...string) result) {
	file := c.dir + "/n4/node.toml"
	raw, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(raw), "allow = true") {
		t.Fatalf("n4's file allows no faults: %v", err)
	}
	ctl(0, "crash", "n4")
	c.state(t, 4, "crashed")
	if err := os.WriteFile(file, []byte(strings.Replace(string(raw), "allow = true", "allow = false", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctl(0, "start", "n4")
	c.healthy(t)
	for _, order := range [][]string{{"crash", "n4"}, {"freeze", "n4"}, {"cut", "n4", "n1"}, {"delay", "n4", "n1", "5"}} {
		r := ctl(7, order...)
		shape(t, "refusal", sample(t, `{"error":{"code":"faults_refused","text":"?","hint":"?"}}`), object(t, r.stdout))
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.control(t, "n4/crash"); got != 200 {
		t.Fatalf("crash: %d", got)
	}
	c.state(t, 4, "crashed")
	if got := c.control(t, "n4/start"); got != 200 {
		t.Fatalf("start: %d", got)
	}
	c.state(t, 4, "running")
	ctl(0, "freeze", "n4")
	c.state(t, 4, "frozen")
	ctl(0, "thaw", "n4")
	c.state(t, 4, "running")
	c.healthy(t)
}
