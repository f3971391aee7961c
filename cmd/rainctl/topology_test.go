package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTopology(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "net.svg")
	r := ctl(t, "", nil, "--json", "topology", "--nodes", "12", "--switches", "12", "--kind", "diameter", "--faults", "3", "--model", "direct", "--svg", svg)
	var got topologyAnswer
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 0 {
		t.Fatalf("exit %d, %v: %s%s", r.code, err, r.out, r.errOut)
	}
	if got.API != 1 || got.Loss != 6 || len(got.FaultSet) != 3 || len(got.Others) != 2 {
		t.Fatalf("%+v", got)
	}
	if b, err := os.ReadFile(svg); err != nil || !strings.Contains(string(b), "cost 6 nodes") {
		t.Fatalf("the drawing: %v %.200s", err, b)
	}
	if r := ctl(t, "", nil, "topology", "--faults", "2"); r.code != 0 || !strings.Contains(r.out, "WORST LOSS") {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	if r := ctl(t, "", nil, "topology", "--nodes", "99", "--ports", "8"); r.code != 3 || !strings.Contains(r.errOut, "ports") {
		t.Fatalf("too few ports: exit %d: %s", r.code, r.errOut)
	}
}
