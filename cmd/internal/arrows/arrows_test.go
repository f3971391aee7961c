package arrows

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
	Doc        string
	GoFiles    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Doc,GoFiles", "rain/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	return pkgs
}

// layer is the first part of the path: ring, store, vip, snow, ...
func layer(path string) string {
	rest, ok := strings.CutPrefix(path, "rain/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

// TestArrowsGoDown: cmd -> video -> snow -> store, vip -> ring; conf and assets
// know nobody but what is said here.
func TestArrowsGoDown(t *testing.T) {
	may := map[string][]string{
		"ring":   {"ring"},
		"store":  {"store", "ring"},
		"vip":    {"vip", "ring"},
		"snow":   {"snow", "store", "vip", "ring"},
		"video":  {"video", "snow", "store", "vip", "ring"},
		"conf":   {"conf", "ring", "store", "vip", "snow", "video"},
		"assets": {},
		"cmd":    {"cmd", "conf", "assets", "video", "snow", "store", "vip", "ring"},
		"demos":  {"demos", "cmd", "snow", "ring"}, // snow: the shapes of the admin API, as cmd's clients have them
	}
	for _, p := range list(t) {
		from := layer(p.ImportPath)
		allowed, known := may[from]
		if !known {
			t.Errorf("%s: no such room in the house", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if to := layer(imp); to != "" && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: arrows go down only, %s may import %v", p.ImportPath, imp, from, allowed)
			}
		}
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestCoresArePure: a core with a clock, a socket or a log can no longer run in
// the simulator.
func TestCoresArePure(t *testing.T) {
	cores := []string{"rain/ring", "rain/ring/rudp", "rain/ring/roster", "rain/ring/settings", "rain/store/catalog", "rain/vip/table", "rain/video/film"}
	bad := []string{"net", "os", "log", "log/slog", "crypto/rand", "math/rand", "syscall", "os/exec", "context", "sync"}
	calls := []string{"time.Now(", "time.Since(", "time.After(", "time.Sleep(", "time.NewTimer(", "time.NewTicker(", "rand.Int", "rand.Shuffle(", "rand.Perm("}
	pkgs := list(t)
	for _, core := range cores {
		i := slices.IndexFunc(pkgs, func(p pkg) bool { return p.ImportPath == core })
		if i < 0 {
			t.Errorf("core %s is gone", core)
			continue
		}
		for _, imp := range pkgs[i].Imports {
			if slices.Contains(bad, imp) && !(core != "rain/ring" && core != "rain/ring/rudp" && imp == "sync") {
				t.Errorf("the core %s imports %q and can no longer run in the simulator", core, imp)
			}
		}
		out, err := exec.Command("go", "list", "-f", `{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}} {{end}}`, core).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(out)) {
			checkCalls(t, f, calls)
		}
	}
}
