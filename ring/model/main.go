// Command model checks the Promela model of the ring, ring.pml, with spin: as it
// is, nothing may be found; each broken variant must be caught by an assertion
// with a name. README.md says what is modelled and maps it to the core.
//
//	go run ./ring/model [-only NAME] [-story] [-at-once N]
//
// It needs spin and gcc. Exit status: 0 all as expected; 1 not; 2 a tool is absent.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "check only the one of this name, or else what has this in its name")
	story := flag.Bool("story", false, "print the steps that lead to what is found")
	atOnce := flag.Int("at-once", min(runtime.NumCPU(), 4), "how many checks run at a time; one takes up to 4 GB, most of them one")
	flag.Parse()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "model: %s is not installed: the model was not checked. Install both tools (Debian: apt-get install spin gcc) and try again\n", tool)
			os.Exit(2)
		}
	}
	if err := run(*only, *story, *atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(only string, story bool, atOnce int) error {
	src, err := source()
	if err != nil {
		return err
	}
	named := slices.ContainsFunc(checks, func(c check) bool { return c.name == only })
	chosen := slices.DeleteFunc(slices.Clone(checks), func(c check) bool {
		return named && c.name != only || !strings.Contains(c.name, only)
	})
	began := time.Now()
	results := start(chosen, src, story, atOnce)
	var errs []error
	fmt.Printf("%-15s %-12s %12s %7s %6s  %s\n", "CHECK", "SEARCH", "STATES", "SECONDS", "DEPTH", "FOUND")
	for i, c := range chosen {
		r := <-results[i]
		if r.err != nil {
			r.err = fmt.Errorf("model: %s: %w", c.name, r.err)
			errs = append(errs, r.err)
		}
		fmt.Printf("%-15s %-12s %12s %7s %6s  %s\n", c.name, r.search, r.states, r.seconds, r.depth, r.text(c))
		if story && r.story != "" {
			fmt.Println(r.story)
		}
	}
	fmt.Printf("%d of %d checks as expected, %.0f s\n", len(chosen)-len(errs), len(chosen), time.Since(began).Seconds())
	return errors.Join(errs...)
}

// start runs checks, so many at once, and gives each result by a channel of its own,
// so that they can be told in their order. Who reads all of them waits for all.
func start(chosen []check, src string, story bool, atOnce int) []chan result {
	results := make([]chan result, len(chosen))
	turns := make(chan struct{}, max(atOnce, 1))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	go func() {
		for i, c := range chosen {
			turns <- struct{}{}
			go func() {
				r, err := c.run(src, story)
				if err == nil {
					err = c.judge(r)
				}
				r.err = err
				results[i] <- r
				<-turns
			}()
		}
	}()
	return results
}

// source is the path of the model, beside this program's source.
func source() (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "rain/ring/model").Output()
	if err != nil {
		return "", fmt.Errorf("model: go list rain/ring/model: %w; run inside the module", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "ring.pml"), nil
}

// result is what spin's verifier said.
type result struct {
	search, states, seconds, depth string
	found                          string // name of the broken assertion
	complete                       bool
	story                          string
	err                            error
}

func (r result) text(c check) string {
	switch {
	case r.err != nil:
		return "UNEXPECTED: " + r.err.Error()
	case r.found != "":
		return r.found + ", as it must: " + c.about
	case !r.complete:
		return "nothing in so many states, not all: " + c.about
	}
	return "nothing: " + c.about
}

var (
	reFound   = regexp.MustCompile(`assertion violated \((\w+)\|\|`)
	reErrors  = regexp.MustCompile(`errors: (\d+)`)
	reStates  = regexp.MustCompile(`(?m)^\s*([0-9.e+]+) states, stored`)
	reDepth   = regexp.MustCompile(`depth reached (\d+)`)
	reElapsed = regexp.MustCompile(`elapsed time ([0-9.e+-]+) seconds`)
	reStep    = regexp.MustCompile(`(?m)^\s*(\d .*|tick.*|\(.* twice.*)$`)
)

// run makes a verifier of the model with the check's switches, and runs it.
func (c check) run(src string, story bool) (result, error) {
	r := result{search: c.search}
	dir, err := os.MkdirTemp("", "rain-model-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	text, err := os.ReadFile(src)
	if err != nil {
		return r, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ring.pml"), text, 0o644); err != nil {
		return r, err
	}
	cmd := func(name string, args ...string) ([]byte, error) {
		p := exec.Command(name, args...)
		p.Dir = dir
		return p.CombinedOutput()
	}
	if out, err := cmd("spin", append(append([]string{"-a"}, strings.Fields(c.flags)...), "ring.pml")...); err != nil {
		return r, fmt.Errorf("spin: %w\n%s", err, out)
	}
	gcc := []string{"-O1", "-w", "-DPRINTF", "-DSAFETY", "-DNOREDUCE", "-DVECTORSZ=2048", "-DMEMLIM=4000"}
	gcc = append(gcc, strings.Fields(searches[c.search].gcc)...)
	if out, err := cmd("gcc", append(gcc, "-o", "pan", "pan.c")...); err != nil {
		return r, fmt.Errorf("gcc: %w\n%s", err, out)
	}
	out, err := cmd("./pan", append([]string{"-E", "-n", "-m20000"}, strings.Fields(searches[c.search].pan)...)...)
	if err != nil && !reErrors.Match(out) {
		return r, fmt.Errorf("the verifier: %w\n%s", err, out)
	}
	r.read(string(out))
	if r.found != "" && story {
		trail, err := cmd("./pan", "-r", "-n")
		if err != nil && len(trail) == 0 {
			return r, fmt.Errorf("replaying the trail: %w", err)
		}
		r.story = strings.Join(reStep.FindAllString(string(trail), -1), "\n")
	}
	return r, nil
}

func (r *result) read(out string) {
	get := func(re *regexp.Regexp) string {
		if m := re.FindStringSubmatch(out); m != nil {
			return m[1]
		}
		return "?"
	}
	r.states, r.depth, r.seconds = get(reStates), get(reDepth), get(reElapsed)
	if m := reFound.FindStringSubmatch(out); m != nil {
		r.found = m[1]
	} else if get(reErrors) != "0" {
		r.found = "an error that is no assertion"
	}
	r.complete = !strings.Contains(out, "Search not completed") && !strings.Contains(out, "max search depth too small")
}

// judge compares with what was expected.
func (c check) judge(r result) error {
	switch {
	case c.want == "" && r.found != "":
		return fmt.Errorf("%s is broken in %s states; see -only %s -story", r.found, r.states, c.name)
	case c.want == "" && !r.complete && c.search != "bitstate":
		return errors.New("the search did not come to its end")
	case c.want != "" && r.found == "":
		return fmt.Errorf("the fault was not caught; expected %s", c.want)
	case c.want != "" && !strings.Contains(" "+c.want+" ", " "+r.found+" "):
		return fmt.Errorf("caught by %s; expected %s", r.found, c.want)
	}
	return nil
}
