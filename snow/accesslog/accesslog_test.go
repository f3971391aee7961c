package accesslog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func record(uri, agent string) *Record {
	return &Record{
		Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Remote: netip.MustParseAddr("192.0.2.7"), Host: []byte("a.test"),
		Method: []byte("GET"), URI: []byte(uri), Proto: []byte("HTTP/1.1"), Status: 200, Sent: 5, UserAgent: []byte(agent),
		Took: 1500 * time.Microsecond,
	}
}

func TestFormats(t *testing.T) {
	r := record("/x", `a"b`)
	want := `192.0.2.7 - - [01/Mar/2026:12:00:00 +0000] "GET /x HTTP/1.1" 200 5 "-" "a\x22b"` + "\n"
	if got := string(r.appendCombined(nil)); got != want {
		t.Errorf("got  %s want %s", got, want)
	}
	var v map[string]any
	if err := json.Unmarshal(r.appendJSON(nil), &v); err != nil || v["user_agent"] != `a"b` || v["took_ms"] != 1.5 || v["status"] != 200.0 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestConcurrentAndClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(path, JSON, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				l.Log(record("/x", "y"))
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Log(record("/late", ""))
	if err := l.Reopen(); err == nil {
		t.Error("reopened after Close")
	}
	b, err := os.ReadFile(path)
	if err != nil || uint64(bytes.Count(b, []byte("\n")))+l.Dropped() != 4001 {
		t.Errorf("%d lines, %d dropped, %v", bytes.Count(b, []byte("\n")), l.Dropped(), err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("/x", "a\"\n\\")
	f.Fuzz(func(t *testing.T, uri, agent string) {
		r := record(uri, agent)
		if c := r.appendCombined(nil); bytes.Count(c, []byte("\n")) != 1 || bytes.Count(c, []byte(`"`)) != 6 {
			t.Fatalf("a forged line: %q", c)
		}
		var v map[string]any
		line := r.appendJSON(nil)
		if err := json.Unmarshal(line, &v); err != nil || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%q: %v", line, err)
		}
		if len(uri) < MaxField && strings.ToValidUTF8(uri, "\ufffd") == uri && v["uri"] != uri {
			t.Fatalf("%q became %q", uri, v["uri"])
		}
	})
}
