package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"rain/snow/admin"
)

func TestShowStreams(t *testing.T) {
	now := time.Unix(1000, 0)
	st := admin.Status{}
	var b bytes.Buffer
	showStreams(&b, st, now)
	if b.Len() != 0 {
		t.Errorf("without a stream: %q", b.String())
	}
	for i := range 12 {
		st.Streams = append(st.Streams, admin.Stream{
			Session: fmt.Sprintf("s%02d", i), Film: "a\x1b[31m", Node: "n2", Client: "192.0.2.7", PositionS: 83.9, SentBytes: 3 << 20, BitsPerS: 2_400_000, Moves: 1, Since: now.Add(-90 * time.Second),
		})
	}
	showStreams(&b, st, now)
	text := b.String()
	for _, want := range []string{"s11", "1m23s", "3.0 MiB", "2.4 Mbit/s", "192.0.2.7", "1m30s", "and 2 older streams"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "s01") || strings.Contains(text, "\x1b") {
		t.Errorf("too much:\n%q", text)
	}
}
