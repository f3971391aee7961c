package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var (
	// What no longer holds, in the words of the package's documentation.
	invariantLine = regexp.MustCompile(`(?m)^# invariant: (.+)$`)
	packageLine   = regexp.MustCompile(`(?m)^# package: ([a-z][a-z/]*)$`)
	// How a test names what it holds to, if it does.
	invariant = regexp.MustCompile(`invariant \(([^)]*)\) broken`)
	// The first thing that a failing test says.
	firstWords = regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (?:\[rapid\] )?(.*)$`)
)

// copyPackage copies a package with its tests.
func copyPackage(root, dir, pkg string) error {
	from, to := filepath.Join(root, filepath.FromSlash(pkg)), filepath.Join(dir, filepath.FromSlash(pkg))
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case !d.IsDir():
			return copyFile(path, filepath.Join(to, rel))
		case rel == "." || strings.HasPrefix(filepath.ToSlash(rel), "testdata"):
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return fs.SkipDir // another package
	})
}

// tryPackage runs the tests of a broken package. Golden stories are left out:
// they show a change, not a fault.
func tryPackage(dir, pkg string, diff []byte) (inv, by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout", "2m", "-skip", "TestStories|TestGolden", "./"+pkg)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", "", errSurvived
	}
	f := failed.FindSubmatch(out)
	if f == nil {
		return "", "", fmt.Errorf("failed without a failing test:\n%s", bytes.TrimSpace(out[:min(len(out), 1500)]))
	}
	inv = "-"
	if m := invariantLine.FindSubmatch(diff); m != nil {
		inv = string(m[1])
	} else if m := invariant.FindSubmatch(out); m != nil {
		inv = string(m[1])
	} else if m := firstWords.FindSubmatch(out); m != nil {
		inv = clip(string(m[1]), 60)
	}
	return inv, pkg + " " + string(f[1]), nil
}

// clip cuts a line that is too long for a table.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
