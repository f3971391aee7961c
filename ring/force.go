package ring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bootstrap is an operator's order: this node gives up its life, so that its
// shell can begin one with Config.Force. Nothing happens while its lease runs.
type Bootstrap struct{}

func (Bootstrap) event() {}

func (m *Machine) bootstrap() {
	if m.now >= m.lease && !m.over() {
		m.restart("ordered to start from this disk alone")
	}
}

// forceGap is up to how many generations a forced start leaps. Two halves that
// are both forced then differ in theirs, and neither takes the other's token.
const forceGap = 1 << 16

// forced reports whether this disk alone may vote, by order.
func (m *Machine) forced() bool { return m.cfg.Force && m.cfg.Disk.Stamp.Epoch != 0 }

// Search is what a node that is no member waits for.
type Search struct {
	Empty   bool     // its disk has no record
	Founder bool     // it may found
	Forced  bool     // an operator ordered it to start from its own disk
	Need    []NodeID // whose disks, or founders, decide; this node among them
	Here    []NodeID // who of them shows itself and may vote, this node first
	Primary bool     // a primary was heard of a moment ago
	Voting  bool     // it takes part in a cold start now
}

// search draws what this node waits for.
func (m *Machine) search() *Search {
	if m.state != seeking && m.state != cold {
		return nil
	}
	s := &Search{
		Empty: m.cfg.Disk.Stamp.Epoch == 0, Founder: slices.Contains(m.cfg.Founders, m.me.ID), Forced: m.forced(),
		Primary: m.seek.welcome != 0 && m.now.Sub(m.seek.welcome) < m.coldWait(), Voting: m.state == cold,
		Here: []NodeID{m.me.ID},
	}
	for _, v := range m.voters() {
		s.Here = append(s.Here, v.who.ID)
	}
	if s.Empty {
		s.Need = slices.Clone(m.cfg.Founders)
		return s
	}
	ids := map[NodeID]bool{}
	for _, v := range inForce(m.views, m.cfg.Disk.Stable) {
		for _, w := range v.View.Members {
			ids[w.ID] = true
		}
	}
	s.Need = slices.Sorted(maps.Keys(ids))
	return s
}

// Text says it in a sentence; name gives the names of nodes.
func (s *Search) Text(name func(NodeID) string) string {
	list := func(ids []NodeID) string {
		var out []string
		for _, id := range ids {
			out = append(out, name(id))
		}
		return strings.Join(out, ", ")
	}
	var away []NodeID
	for _, id := range s.Need {
		if !slices.Contains(s.Here, id) {
			away = append(away, id)
		}
	}
	switch {
	case s.Primary:
		return "it found the cluster and fetches its state"
	case s.Voting:
		return "a start from the disks is under way"
	case s.Forced:
		return "it is about to start from its own disk alone, as ordered"
	case s.Empty && !s.Founder:
		return "its disk is empty and it is no founder: it waits for a node of the cluster"
	case s.Empty && len(away) == 0:
		return "all founders are here: it founds the cluster"
	case s.Empty:
		return fmt.Sprintf("its disk is empty; to found the cluster more than half of the %d founders must meet; missing: %s", len(s.Need), list(away))
	case len(away) == 0:
		return "the disks of the last view are all here: they are about to vote"
	}
	return fmt.Sprintf("no running cluster in reach; it waits for enough disks of the last view (%s); missing: %s", list(s.Need), list(away))
}
