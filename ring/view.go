package ring

import (
	"fmt"
	"slices"
	"strings"
)

// ViewMember is a member and the view number with which it came.
type ViewMember struct {
	Member
	Since uint64
}

// View is a numbered set of members. Members are sorted by id; an id is in a
// view at most once.
type View struct {
	Number  uint64
	Members []ViewMember
}

// Has reports whether m, id and incarnation, is in the view.
func (v View) Has(m Member) bool {
	vm, ok := v.ByID(m.ID)
	return ok && vm.Inc == m.Inc
}

// ByID returns the member with that id.
func (v View) ByID(id NodeID) (ViewMember, bool) {
	i, ok := slices.BinarySearchFunc(v.Members, id, func(m ViewMember, id NodeID) int {
		switch {
		case m.ID < id:
			return -1
		case m.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return ViewMember{}, false
	}
	return v.Members[i], true
}

// Distinguished is the member longest in the view, lowest id among equals. With
// it exactly half of a view is a quorum. It is the zero Member in an empty view.
func (v View) Distinguished() Member {
	var d ViewMember
	for i, m := range v.Members {
		if i == 0 || m.Since < d.Since {
			d = m
		}
	}
	return d.Member
}

// Quorum reports whether the members of the view for which in is true are more
// than half of it, or exactly half with the distinguished member.
func (v View) Quorum(in func(Member) bool) bool { return v.QuorumWith(in, v.Distinguished()) }

// QuorumWith is Quorum where another member decides between two halves; the zero
// Member: no half counts.
func (v View) QuorumWith(in func(Member) bool, tie Member) bool {
	n := v.count(in)
	return 2*n > len(v.Members) || 2*n == len(v.Members) && n > 0 && !tie.IsZero() && in(tie)
}

// half reports whether in is true for exactly half of the view.
func (v View) half(in func(Member) bool) bool {
	n := v.count(in)
	return n > 0 && 2*n == len(v.Members)
}

func (v View) count(in func(Member) bool) (n int) {
	for _, m := range v.Members {
		if in(m.Member) {
			n++
		}
	}
	return n
}

// Need is the least number of members that can be a quorum.
func (v View) Need() int { return (len(v.Members) + 1) / 2 }

// next returns the view that follows: without the members of drop, with those of add.
func (v View) next(drop func(Member) bool, add ...Member) View {
	w := View{Number: v.Number + 1}
	for _, m := range v.Members {
		if drop != nil && drop(m.Member) || slices.ContainsFunc(add, func(a Member) bool { return a.ID == m.ID }) {
			continue
		}
		w.Members = append(w.Members, m)
	}
	for _, a := range add {
		w.Members = append(w.Members, ViewMember{Member: a, Since: w.Number})
	}
	slices.SortFunc(w.Members, func(a, b ViewMember) int { return int(int64(a.ID) - int64(b.ID)) })
	return w
}

func (v View) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "view %d =", v.Number)
	for _, m := range v.Members {
		fmt.Fprintf(&b, " %s", m.Member)
	}
	return b.String()
}
