package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every patch fits the code as it is: a mutant that no longer applies proves
// nothing. Whether the simulator notices is for the program to find out.
func TestPatchesApply(t *testing.T) {
	patches, err := filepath.Glob("*.patch")
	if err != nil || len(patches) < 12 {
		t.Fatalf("%d patches, %v; at least 12 are to be here", len(patches), err)
	}
	for _, p := range patches {
		diff, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(diff), "# ") {
			t.Errorf("%s does not begin with a line that says what is broken", p)
		}
		dir := t.TempDir()
		if err := copyRing("../..", dir); err != nil {
			t.Fatal(err)
		}
		if m := packageLine.FindSubmatch(diff); m != nil {
			if err := copyPackage("../..", dir, string(m[1])); err != nil {
				t.Errorf("%s: %v", p, err)
				continue
			}
		}
		if err := apply(dir, string(diff)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestApply(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "a.go")
	if err := os.WriteFile(f, []byte("1\n2\n3\n4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := apply(dir, "# x\n--- a/a.go\n+++ b/a.go\n@@ -9,2 +9,3 @@\n 2\n-3\n+three\n+more\n 4\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f); string(got) != "1\n2\nthree\nmore\n4\n" {
		t.Fatalf("applied: %q", got)
	}
	if err := apply(dir, "+++ b/a.go\n@@ @@\n-9\n+8\n"); err == nil {
		t.Fatal("a hunk without its context was applied")
	}
}
