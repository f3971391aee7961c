package show

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"rain/demos/lab/viewer"
)

// Story is all that happened.
type Story struct {
	API     int       `json:"api"`
	Net     string    `json:"net"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Least   int       `json:"least"`
	Near    int       `json:"near"`
	Faults  []Span    `json:"faults"`
	Viewers []Seen    `json:"viewers"`
	Views   []Sample  `json:"views"`
}

// Span is a fault as it was, in seconds since the start.
type Span struct {
	What string  `json:"what"`
	Kind Kind    `json:"kind"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Seen is what one viewer saw, over all showings of the film.
type Seen struct {
	Name     string          `json:"name"`
	Showings []viewer.Report `json:"showings"`
	Failures []viewer.Moment `json:"failures"`          // of the player itself
	Skipped  string          `json:"skipped,omitempty"` // why there was no such viewer
}

// Sample is how many members the primary view had at a moment.
type Sample struct {
	At      float64 `json:"at"`
	Members int     `json:"members"` // 0: no node knew of a primary view
	View    uint64  `json:"view"`
}

// Lost is film that a viewer never got, and time in which it stood still, in
// seconds.
func (s Seen) Lost() (lost, stalled, shown float64) {
	for _, r := range s.Showings {
		lost += r.Lost / 1000
		stalled += r.Stalled / 1000
		shown += r.Shown / 1000
	}
	return lost, stalled, shown
}

// Sent tells which node sent how many segments, as far as the player knew.
func (s Seen) Sent() (out []string) {
	count := map[string]int{}
	for _, r := range s.Showings {
		for _, x := range r.Sent {
			count[x.Node]++
		}
	}
	for _, n := range slices.Sorted(maps.Keys(count)) {
		out = append(out, fmt.Sprintf("%s %d", cmp.Or(n, "?"), count[n]))
	}
	return out
}

// Lost is what all viewers lost, and how often a player gave up.
func (s *Story) Lost() (lost, stalled float64, failures int) {
	for _, v := range s.Viewers {
		l, st, _ := v.Lost()
		lost, stalled = lost+l, stalled+st
		failures += len(v.Failures)
	}
	return lost, stalled, failures
}

// Write tells the story in words.
func (s *Story) Write(w io.Writer) error {
	count := map[Kind]int{}
	for _, f := range s.Faults {
		count[f.Kind]++
	}
	fmt.Fprintf(w, "%s, %.0f s: %d faults (", s.Net, s.Seconds, len(s.Faults))
	for i, k := range Kinds {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprintf(w, "%s %d", k, count[k])
	}
	fmt.Fprintf(w, "); always %d nodes connected, and each viewer to %d\n", s.Least, s.Near)
	least, most, views, none := 0, 0, uint64(0), 0
	for i, v := range s.Views {
		if v.Members == 0 {
			none++
			continue
		}
		if least == 0 || v.Members < least {
			least = v.Members
		}
		most = max(most, v.Members)
		if i > 0 && s.Views[0].View > 0 {
			views = v.View - s.Views[0].View
		}
	}
	fmt.Fprintf(w, "the view had %d to %d members and changed %d times; at %d of %d looks no node was in a primary view\n", least, most, views, none, len(s.Views))
	for _, v := range s.Viewers {
		if v.Skipped != "" {
			fmt.Fprintf(w, "  %-22s skipped: %s\n", v.Name, v.Skipped)
			continue
		}
		lost, stalled, shown := v.Lost()
		again, stalls, worst := 0, 0, 0.0
		for _, r := range v.Showings {
			again += r.Failed
			stalls += len(r.Stalls)
			worst = max(worst, r.Longest)
		}
		fmt.Fprintf(w, "  %-22s %6.1f s of film shown, %.3f s lost, %d stalls of %.3f s in all, the longest %.0f ms; %d requests repeated, given up %d times\n",
			v.Name, shown, lost, stalls, stalled, worst, again, len(v.Failures))
		if by := v.Sent(); len(by) > 0 {
			fmt.Fprintf(w, "  %-22s segments from %s\n", "", strings.Join(by, ", "))
		}
	}
	lost, stalled, failures := s.Lost()
	_, err := fmt.Fprintf(w, "in all: %.3f s of film lost, %.3f s stood still, given up %d times\n", lost, stalled, failures)
	return err
}
