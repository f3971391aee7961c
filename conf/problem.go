package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a node file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`          // from 1; of the section where a key is missing
	Key     string `json:"key,omitempty"` // such as link[0].listen, counted from 0; empty: the file
	What    string `json:"what"`
	Allowed string `json:"allowed,omitempty"`
}

func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Allowed != "" {
		b.WriteString("; " + p.Allowed)
	}
	return b.String()
}

// Problems is the error of a file with faults: one line each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted are the faults in the order of the file's lines.
func (b *binder) sorted() Problems {
	slices.SortStableFunc(b.faults, func(x, y Problem) int { return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Key, y.Key)) })
	return b.faults
}
