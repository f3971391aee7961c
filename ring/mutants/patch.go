package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apply applies a unified diff to the files under dir. A hunk may have moved by
// some lines, but its context must be there exactly, and once.
func apply(dir, diff string) error {
	lines := strings.Split(strings.ReplaceAll(diff, "\r\n", "\n"), "\n")
	var path string
	var file []string
	write := func() error {
		if path == "" {
			return nil
		}
		return os.WriteFile(path, []byte(strings.Join(file, "\n")), 0o644)
	}
	for i := 0; i < len(lines); {
		switch l := lines[i]; {
		case strings.HasPrefix(l, "+++ "):
			if err := write(); err != nil {
				return err
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(l, "+++ "), "\t")
			path = filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, "b/")))
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			file = strings.Split(string(b), "\n")
			i++
		case strings.HasPrefix(l, "@@ "):
			old, repl, n := hunk(lines[i+1:])
			at, err := find(file, old)
			if err != nil {
				return fmt.Errorf("the patch does not fit %s any more (%w); make it anew:\n%s", filepath.Base(path), err, strings.Join(old, "\n"))
			}
			file = slices.Replace(file, at, at+len(old), repl...)
			i += 1 + n
		default:
			i++
		}
	}
	return write()
}

// hunk splits the lines of a hunk into what was and what is to be.
func hunk(lines []string) (old, repl []string, n int) {
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, " "):
			old, repl = append(old, l[1:]), append(repl, l[1:])
		case strings.HasPrefix(l, "-") && !strings.HasPrefix(l, "--- "):
			old = append(old, l[1:])
		case strings.HasPrefix(l, "+") && !strings.HasPrefix(l, "+++ "):
			repl = append(repl, l[1:])
		default:
			return old, repl, n
		}
		n++
	}
	return old, repl, n
}

func find(file, old []string) (int, error) {
	at := -1
	for i := 0; i+len(old) <= len(file); i++ {
		if slices.Equal(file[i:i+len(old)], old) {
			if at >= 0 {
				return 0, fmt.Errorf("its context is there twice")
			}
			at = i
		}
	}
	if at < 0 || len(old) == 0 {
		return 0, fmt.Errorf("its context is gone")
	}
	return at, nil
}
