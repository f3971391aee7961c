package ring

import (
	"bytes"
	"slices"
)

// opLog is the log of ops as far as this member keeps it: entries base+1 and
// up. What lies at or below base is committed, applied and forgotten.
type opLog struct {
	base uint64
	ops  []Entry
	size int // bytes of data in ops
}

func (l *opLog) last() uint64 { return l.base + uint64(len(l.ops)) }

func (l *opLog) at(i uint64) (Entry, bool) {
	if i <= l.base || i > l.last() {
		return Entry{}, false
	}
	return l.ops[i-l.base-1], true
}

// from returns the entries above i; i must not be below base.
func (l *opLog) from(i uint64) []Entry { return l.ops[i-l.base:] }

func (l *opLog) append(e Entry) {
	l.ops = append(l.ops, e)
	l.size += len(e.Data)
}

// cut drops what lies above i.
func (l *opLog) cut(i uint64) {
	for _, e := range l.ops[i-l.base:] {
		l.size -= len(e.Data)
	}
	l.ops = l.ops[:i-l.base]
}

// Entries below the token's base are kept for joiners whose snapshot is a
// little older than the base.
const (
	retainOps   = 4096
	retainBytes = 128 << 10
)

// trim forgets entries at or below upTo that no joiner could still use.
func (l *opLog) trim(upTo uint64) {
	n, bytes := 0, l.size
	for l.base+uint64(n) < upTo && (len(l.ops)-n > retainOps || bytes > retainBytes) {
		bytes -= len(l.ops[n].Data)
		n++
	}
	if n < 256 && n < len(l.ops)/2 {
		return // not worth the copy yet
	}
	l.ops = slices.Clone(l.ops[n:])
	l.base += uint64(n)
	l.size = bytes
}

// sameOp reports whether two entries are the same op. The bytes count too: one
// maker can append two different view changes of one number in two epochs.
func sameOp(a, b Entry) bool {
	return a.From == b.From && a.N == b.N && a.Rider == b.Rider && bytes.Equal(a.Data, b.Data)
}

// inForce returns the views in force among views (ascending by index): the last
// settled one and the pending one, if any. A view change is appended only when
// the one before is settled, so all but the last two are settled whatever this
// member's stable says. An unsettled cold view stands alone: all incarnations
// of the views before it are dead.
func inForce(views []IndexedView, stable uint64) []IndexedView {
	n := len(views)
	if n == 0 {
		return nil
	}
	if last := views[n-1]; n == 1 || last.Index <= stable || last.Cold {
		return views[n-1:]
	}
	return views[n-2:]
}

// quorumOf reports whether in is true for a quorum of each of the views.
func (m *Machine) quorumOf(force []IndexedView, stable uint64, in func(Member) bool) bool {
	if len(force) == 0 {
		return false
	}
	for _, v := range force {
		if v.Cold && v.Index > stable {
			for _, w := range v.View.Members {
				if !in(w.Member) {
					return false
				}
			}
			continue
		}
		if !v.View.QuorumWith(in, m.tie(v.View)) {
			return false
		}
	}
	return true
}

// membersOf lists the members of all views, each once, in order of view and id.
func membersOf(force []IndexedView) []Member {
	var out []Member
	for _, v := range force {
		out = slices.Grow(out, len(v.View.Members))
		for _, m := range v.View.Members {
			if !slices.Contains(out, m.Member) {
				out = append(out, m.Member)
			}
		}
	}
	return out
}
