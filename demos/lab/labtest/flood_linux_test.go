package labtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rain/demos/lab/flood"
)

var (
	flagFlood     = flag.Duration("flood", 10*time.Second, "how long forged datagrams come; 1m offline")
	flagFloodRate = flag.Int("floodrate", 50_000, "how many a second")
)

// metrics of the node in a host; a metric with labels counts under its whole name.
func (l *lab) metrics(host string) map[string]float64 {
	l.t.Helper()
	resp, err := l.send(host, http.MethodGet, "/metrics", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // all of it is read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		if at := strings.LastIndexByte(strings.TrimSpace(line), ' '); at > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err == nil {
				out[line[:at]] = v
			}
		}
	}
	return out
}

// memory is what the node of a host holds of its own, in bytes.
func (l *lab) memory(host string) float64 {
	l.t.Helper()
	var st struct {
		Hosts []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(l.do("status"), &st); err != nil {
		l.t.Fatal(err)
	}
	for _, h := range st.Hosts {
		if h.Name != host {
			continue
		}
		// The laboratory's own /proc knows the number.
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.pid), "root/proc", strconv.Itoa(h.PID), "status"))
		if err != nil {
			l.t.Fatal(err)
		}
		s := bufio.NewScanner(bytes.NewReader(b))
		for s.Scan() {
			var kb float64
			if _, err := fmt.Sscanf(s.Text(), "RssAnon: %f kB", &kb); err == nil {
				return kb * 1024
			}
		}
	}
	l.t.Fatalf("no memory of %s", host)
	return 0
}

// TestFlood: a stranger sends a node 50,000 forged and replayed datagrams a
// second. They are counted; nothing else happens.
func TestFlood(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0))
	number := l.views(l.nodes)["n1"].number
	file := filepath.Join(l.dir, "heard.pcap")
	l.do("capture", "n1.0", file)
	time.Sleep(2 * time.Second)
	l.do("capture", "n1.0")
	before, held := l.metrics("n1"), l.memory("n1")
	at := time.Now()
	out := l.do("exec", "client", filepath.Join(bin.dir, "lab"), "flood", "10.77.1.1:7400", file, "--rate", strconv.Itoa(*flagFloodRate), "--for", flagFlood.String())
	took := time.Since(at).Seconds()
	var sent flood.Report
	if err := json.Unmarshal(out, &sent); err != nil {
		t.Fatal(err)
	}
	after := l.metrics("n1")
	dropped, reasons := 0.0, []string{}
	for name, v := range after {
		if n := v - before[name]; strings.HasPrefix(name, "rain_datagrams_dropped_total") && n > 0 {
			dropped += n
			reasons = append(reasons, fmt.Sprintf("%s %.0f", strings.TrimPrefix(name, "rain_datagrams_dropped_total"), n))
		}
	}
	mib := func(b float64) float64 { return b / (1 << 20) }
	t.Logf("%.0f datagrams a second for %.0f s, %d in all: %.0f counted as dropped (%s); memory of the node %.1f MiB before, %.1f after; %.0f rotations a second",
		sent.PerS, sent.Seconds, sent.Sent, dropped, strings.Join(reasons, ", "), mib(held), mib(l.memory("n1")),
		(after["rain_ring_rotations_total"]-before["rain_ring_rotations_total"])/took)
	l.same("the flood", number)
	for _, n := range []string{"rain_ring_regenerations_total", "rain_ring_lease_lost_total"} {
		if after[n] != before[n] {
			t.Errorf("%s went from %.0f to %.0f", n, before[n], after[n])
		}
	}
	if dropped < float64(sent.Sent)/10 {
		t.Errorf("of %d datagrams %.0f were counted", sent.Sent, dropped)
	}
	if grown := l.memory("n1") - held; grown > 64<<20 {
		t.Errorf("the node's memory grew by %.1f MiB", mib(grown))
	}
}
