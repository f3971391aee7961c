package show

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rain/demos/lab/plan"
	"rain/demos/lab/reach"
	"rain/demos/lab/viewer"
)

func caltech(t *testing.T) *plan.Plan {
	t.Helper()
	b, err := os.ReadFile("../caltech.toml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func config(p *plan.Plan, seed uint64) Config {
	return Config{Plan: p, Seed: seed, Least: 7, Near: 4, Viewers: []string{"n1", "n6"}, AtOnce: 4,
		Every: 2 * time.Second, Shortest: 2 * time.Second, Longest: 12 * time.Second}
}

// play lets a breaker run for so long and returns all that it did.
func play(t *testing.T, cfg Config, length time.Duration) (acts []Action) {
	t.Helper()
	b, err := NewBreaker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for now := time.Duration(0); now < length; {
		some, wake, err := b.Step(now)
		if err != nil {
			t.Fatal(err)
		}
		if wake <= now {
			t.Fatalf("it wants to be called again at %v, now is %v", wake, now)
		}
		acts = append(acts, some...)
		now = wake
	}
	return append(acts, b.End()...)
}

// TestBreaker: whatever is broken, as many nodes as promised are connected and
// each viewer reaches as many as it needs; all kinds come; all is mended; equal
// seeds do the same.
func TestBreaker(t *testing.T) {
	p := caltech(t)
	kinds := map[Kind]int{}
	for seed := range uint64(6) {
		cfg := config(p, seed)
		acts := play(t, cfg, 10*time.Minute)
		if !reflect.DeepEqual(acts, play(t, cfg, 10*time.Minute)) {
			t.Fatal("equal seeds differ")
		}
		broken := map[string]Kind{}
		most := 0
		for _, a := range acts {
			if a.Mend {
				if broken[a.What] != a.Kind {
					t.Fatalf("%v is mended and was not broken", a)
				}
				delete(broken, a.What)
				continue
			}
			if _, ok := broken[a.What]; ok {
				t.Fatalf("%v is broken twice", a)
			}
			broken[a.What] = a.Kind
			kinds[a.Kind]++
			most = max(most, len(broken))
			all, net := reach.Faults{}, reach.Faults{}
			for what, k := range broken {
				all[what] = true
				net[what] = k != Crash && k != Freeze
			}
			g, err := reach.Direct(p, all)
			if err != nil {
				t.Fatal(err)
			}
			h, err := reach.Direct(p, net)
			if err != nil {
				t.Fatal(err)
			}
			if n := g.OneRelay().Largest(); n < cfg.Least {
				t.Fatalf("seed %d: %v leave %d nodes", seed, broken, n)
			}
			for _, v := range cfg.Viewers {
				near := slices.DeleteFunc(h.Near(v), func(n string) bool { k := broken[n]; return k == Crash || k == Freeze })
				if len(near) < cfg.Near {
					t.Fatalf("seed %d: %v leave %s with %v", seed, broken, v, near)
				}
			}
		}
		if len(broken) > 0 {
			t.Fatalf("left broken: %v", broken)
		}
		if most != cfg.AtOnce {
			t.Errorf("seed %d: at most %d faults at a time", seed, most)
		}
	}
	for _, k := range Kinds {
		if kinds[k] < 20 {
			t.Errorf("%s came %d times", k, kinds[k])
		}
	}
}

func TestBreakerRefusesWhatCannotBe(t *testing.T) {
	p := caltech(t)
	cfg := config(p, 1)
	cfg.Least = 11
	if _, err := NewBreaker(cfg); err == nil {
		t.Error("11 of 10 nodes")
	}
	cfg = config(p, 1)
	cfg.Viewers = []string{"nobody"}
	if _, err := NewBreaker(cfg); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("%v", err)
	}
}

func TestPicture(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &Story{Net: "a <net>", Started: start, Seconds: 100, Least: 6,
		Faults: []Span{{"s1", Switch, 3, 9}, {"n1-s1", Link, 5, 7}, {"s1", Switch, 20, 30}},
		Views:  []Sample{{0, 10, 1}, {4, 8, 3}, {10, 10, 4}},
		Viewers: []Seen{{Name: "n1 <play>", Showings: []viewer.Report{{Started: start, Shown: 90_000, Stalled: 250, Longest: 250,
			Stalls: []viewer.Moment{{At: start.Add(4 * time.Second), MS: 250}}, Lost: 2000, Failed: 1,
			Sent: []viewer.Sent{{At: start.Add(2 * time.Second), Segment: 0, Node: "n7"}, {At: start.Add(3 * time.Second), Segment: 1, Node: "n<8"}}}}},
			{Name: "browser", Skipped: "no <Chromium>"}},
	}
	var b bytes.Buffer
	if err := s.SVG(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v\n%s", err, text)
		}
	}
	for _, want := range []string{"switch s1, 3.0 to 9.0 s", "link n1-s1, 5.0 to 7.0 s", "n1 &lt;play&gt;", "2.00 s of film lost, 0.25 s stood still",
		"segment 0 from n7 at 2.0 s", "segment 1 from n&lt;8 at 3.0 s", "skipped: no &lt;Chromium&gt;"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the picture", want)
		}
	}
	var words bytes.Buffer
	if err := s.Write(&words); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 faults (switch 2, link 1, interface 0, crash 0, freeze 0)", "8 to 10 members and changed 3 times", "2.000 s lost, 1 stalls",
		"segments from n7 1, n<8 1\n", "skipped: no <Chromium>\n"} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("%q is not in\n%s", want, words.String())
		}
	}
}
