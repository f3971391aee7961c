// Command mutants proves that the tests would notice: it breaks a core in one
// place at a time and requires that its tests then fail, and say at what.
//
// Each *.patch here is a unified diff, with a first line "# what is broken". For
// each, the module's ring (without its shell) is copied to a temporary directory,
// patched, compiled, and run for some seeds and all directed tests of ring and
// ring/sim.
// The table says which invariant caught it, and how.
//
// A patch with a line "# package: vip/table" breaks that package and not the
// ring: a rider of the token. It is copied too, and its own tests must fail. A
// line "# invariant: ..." says which guarantee of the package it breaks.
//
//	go run ./ring/mutants [-seeds N] [-only NAME]
//
// Exit status: 0 all were caught; 1 one survived or a patch does not apply.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 300, "random seeds to run for each mutant, until one fails")
	only := flag.String("only", "", "run only the patches whose name contains this")
	flag.Parse()
	if err := run(*seeds, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(seeds int, only string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	patches, err := filepath.Glob(filepath.Join(root, "ring", "mutants", "*.patch"))
	if err != nil || len(patches) == 0 {
		return fmt.Errorf("mutants: no patches in %s/ring/mutants (%v)", root, err)
	}
	var errs []error
	fmt.Printf("%-28s %-34s %s\n", "MUTANT", "INVARIANT THAT CAUGHT IT", "BY")
	for _, p := range patches {
		name := strings.TrimSuffix(filepath.Base(p), ".patch")
		if !strings.Contains(name, only) {
			continue
		}
		inv, by, err := try(root, p, seeds)
		if err != nil {
			errs = append(errs, fmt.Errorf("mutants: %s: %w", name, err))
			inv, by = "NONE", err.Error()
		}
		fmt.Printf("%-28s %-34s %s\n", name, inv, by)
	}
	return errors.Join(errs...)
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("mutants: go list -m: %w; run inside the module", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// errSurvived says that all tests passed with a broken core.
var errSurvived = errors.New("survived: nothing failed; the tests do not see this fault")

var (
	broken   = regexp.MustCompile(`invariant (\d+) \(([^)]*)\) broken(?:, seed (\d+))?`)
	onlyLine = regexp.MustCompile(`(?m)^# only: (\d)$`)
	failed   = regexp.MustCompile(`--- FAIL: (Test\w+)`)
)

// try tests one mutant. It returns the invariant that broke and what broke it.
func try(root, patch string, seeds int) (inv, by string, err error) {
	dir, err := os.MkdirTemp("", "rain-mutant-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir)
	if err := copyRing(root, dir); err != nil {
		return "", "", err
	}
	diff, err := os.ReadFile(patch)
	if err != nil {
		return "", "", err
	}
	pkg := ""
	if m := packageLine.FindSubmatch(diff); m != nil {
		pkg = string(m[1])
		if err := copyPackage(root, dir, pkg); err != nil {
			return "", "", err
		}
	}
	if err := apply(dir, string(diff)); err != nil {
		return "", "", err
	}
	if pkg != "" {
		return tryPackage(dir, pkg, diff)
	}
	return trySim(dir, diff, seeds)
}

// trySim runs ring/sim on a broken ring.
func trySim(dir string, diff []byte, seeds int) (inv, by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	test := func(env string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Env = filepath.Join(dir, "ring", "sim"), append(os.Environ(), env, "STOP=1")
		return cmd.CombinedOutput()
	}
	bin := filepath.Join(dir, "sim.test.exe")
	if out, err := test("", "go", "test", "-c", "-o", bin, "."); err != nil {
		return "", "", fmt.Errorf("does not compile: %w\n%s", err, out)
	}
	// Directed tests first: they are quick, and say what they are about. Golden
	// traces are left out: they show a change, not a fault.
	out, err := test("", "go", "test", "-count=1", "-failfast", "-skip", "Golden", "rain/ring")
	if err != nil && broken.Match(out) {
		return named(out)
	}
	// A minute is enough for all of them on an idle machine. What does not end there
	// does not end in five on a busy one.
	out, err = test("", bin, "-test.timeout", "5m", "-test.failfast", "-test.skip", "TestRandom|TestGolden|TestDeterministic")
	if only := onlyLine.FindSubmatch(diff); only != nil {
		// The directed tests check all; only random runs can be narrowed.
		out, err = test("ONLY="+string(only[1]), bin, "-test.timeout", "8m", "-test.run", "TestRandom")
	} else if err == nil {
		out, err = test(fmt.Sprintf("SEEDS=%d", seeds), bin, "-test.timeout", "8m", "-test.run", "TestRandom")
	}
	if err == nil {
		return "", "", errSurvived
	}
	return named(out)
}

// named finds in a failed test's output what broke, and by what it was found.
func named(out []byte) (inv, by string, err error) {
	m := broken.FindSubmatch(out)
	switch {
	case m == nil && bytes.Contains(out, []byte("test timed out")):
		return "6 liveness", "a step that does not end", nil
	case m == nil:
		return "", "", fmt.Errorf("failed without naming an invariant:\n%s", bytes.TrimSpace(out[:min(len(out), 1500)]))
	}
	by = "seed " + string(m[3])
	if f := failed.FindSubmatch(out); f != nil && string(f[1]) != "TestRandom" {
		by = string(f[1])
	}
	return fmt.Sprintf("%s %s", m[1], m[2]), by, nil
}

// copyRing copies the module files, the core, what it imports, and the simulator.
func copyRing(root, dir string) error {
	for _, f := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(root, f), filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(root, "ring"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch filepath.ToSlash(rel) {
			case "ring", "ring/wire", "ring/sim", "ring/sim/testdata":
				return os.MkdirAll(filepath.Join(dir, rel), 0o755)
			}
			return fs.SkipDir
		}
		return copyFile(path, filepath.Join(dir, rel))
	})
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
