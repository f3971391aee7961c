package sim

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden traces anew; the diff is what gets reviewed")

// TestGolden plays the stories in testdata. A file is blocks of comments and
// commands, "----", and the trace that they give.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in testdata: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, strings.ReplaceAll(string(want), "\r\n", "\n"))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("%s: the trace differs; if it should, run go test ./ring/sim -run TestGolden -rewrite and review the diff\n%s", f, firstDiff(string(want), got))
			}
		})
	}
}

// play runs a story and returns it with its traces.
func play(t *testing.T, story string) string {
	var out, trace bytes.Buffer
	s := NewScript(&trace)
	for block := range strings.SplitSeq(strings.TrimSpace(story), "\n\n") {
		commands, _, _ := strings.Cut(block, "----\n")
		commands = strings.TrimSuffix(commands, "----")
		trace.Reset()
		for line := range strings.Lines(commands) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			if err := s.Do(line); err != nil {
				t.Fatalf("%v\n%s", err, trace.String())
			}
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(strings.TrimRight(commands, "\n") + "\n----\n" + trace.String())
	}
	return out.String()
}

func firstDiff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "want: " + w[i] + "\n got: " + g[i]
		}
	}
	return "one ends before the other"
}
