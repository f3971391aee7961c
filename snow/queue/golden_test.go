package queue

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rain/ring"
)

var rewrite = flag.Bool("rewrite", false, "write the golden stories anew; the diff is what gets reviewed")

// TestGolden plays the stories in testdata. A file is blocks of comments and
// commands, "----", and what they came to. Members are written NODE/INCARNATION.
//
//	view NUMBER MEMBER...
//	MEMBER begin N...            streams         MEMBER end N...
//	MEMBER offset N BYTES        MEMBER settle   all that it claimed
//	MEMBER effect N KEY PRINT    KEY "-": none   MEMBER finish MEMBER-N ANSWER
//	restore                      a replica from a snapshot goes on
//	table                        all entries and counters
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in testdata: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(raw), "\r\n", "\n")
			got := play(t, want)
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("%s: the story differs; if it should, run go test ./snow/queue -run TestGolden -rewrite and review the diff\ngot:\n%s", f, got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	g := newRig(t)
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		var b bytes.Buffer
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
				g.command(&b, strings.Fields(line))
			}
		}
		out = append(out, commands+"\n----\n"+b.String())
	}
	return strings.Join(out, "\n")
}

func (g *rig) command(out *bytes.Buffer, f []string) {
	switch f[0] {
	case "view":
		v := ring.View{Number: uint64(g.number(f[1]))}
		for _, m := range f[2:] {
			v.Members = append(v.Members, ring.ViewMember{Member: g.member(m)})
		}
		before := g.r.Table().Claimed
		g.view(v, 0)
		fmt.Fprintf(out, "claimed %d\n", g.r.Table().Claimed-before)
	case "restore":
		r := NewRider(g.r.inner)
		restore(g.t, g.r, r)
		g.r = r
	case "table":
		g.dump(out)
	default:
		fmt.Fprintf(out, "%s\n", g.told(g.do(g.member(f[0]), g.op(g.member(f[0]), f[1:]))))
	}
}

func (g *rig) op(from ring.Member, f []string) Op {
	op := Op{Kind: OpBatch}
	switch f[0] {
	case "begin":
		for _, n := range f[1:] {
			op.Begins = append(op.Begins, NewStream{N: uint64(g.number(n)), Request: request("/film")})
		}
	case "end":
		for _, n := range f[1:] {
			op.Ends = append(op.Ends, uint64(g.number(n)))
		}
	case "offset":
		op.Offsets = []Progress{{uint64(g.number(f[1])), uint64(g.number(f[2]))}}
	case "settle":
		op.Kind = OpSettle
		for _, e := range g.r.Table().Claims(from) {
			op.IDs = append(op.IDs, e.ID)
		}
	case "effect":
		op = Op{Kind: OpBegin, N: uint64(g.number(f[1])), Effect: post(strings.Trim(f[2], "-"), f[3][0])}
	case "finish":
		m, n, _ := strings.Cut(f[1], "-")
		op = finish(EntryID{g.member(m), uint64(g.number(n))}, f[2])
	default:
		g.t.Fatalf("no command %q", f)
	}
	return op
}

// told is a verdict in words.
func (g *rig) told(v Verdict) string {
	s := v.Kind.String()
	if !v.ID.Member.IsZero() {
		s += " " + short(v.ID.Member) + "-" + strconv.FormatUint(v.ID.N, 10)
	}
	if !v.Owner.IsZero() {
		s += ", owner " + short(v.Owner)
	}
	if v.Outcome != nil {
		s += fmt.Sprintf(", outcome %q with %q", v.Outcome.Answer, v.Outcome.Result)
	}
	return s
}

func (g *rig) dump(out *bytes.Buffer) {
	t := g.r.Table()
	line := func(e *Entry) bool {
		fmt.Fprintf(out, "%s-%d %s, owner %s, offset %d\n", short(e.ID.Member), e.ID.N, e.State, short(e.Owner), e.Offset)
		return true
	}
	t.Running(line)
	for _, e := range t.Recent() {
		line(e)
	}
	fmt.Fprintf(out, "length %d, claimed %d, orphaned %d, replayed %d; inner ops %q\n", t.Length(), t.Claimed, t.Orphaned, t.Replayed, g.book.ops)
}

func short(m ring.Member) string { return fmt.Sprintf("%d/%d", m.ID, m.Inc) }

func (g *rig) member(s string) ring.Member {
	id, inc, _ := strings.Cut(s, "/")
	return member(g.number(id), g.number(inc))
}

func (g *rig) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}
