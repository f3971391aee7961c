package ring

import "slices"

// saveState says what of the log is on its way to the disk.
type saveState struct {
	from    uint64 // first index that no Save has carried yet
	epoch   Epoch  // of the last Save
	stable  bool   // a view was settled: worth writing
	replace bool   // the next Save replaces the disk's record by header's snapshot
	header  SnapshotHeader
}

// saveNote is a Save under way.
type saveNote struct {
	ref   uint64
	epoch Epoch
	index uint64
}

// save sends to the disk what is not on its way yet. The token never waits for
// it.
func (m *Machine) save(replace bool) {
	s := &m.saved
	if !replace && m.log.last() < s.from && s.epoch == m.copyStamp.Epoch && !s.stable {
		return
	}
	m.refs++
	out := &Save{
		Ref: m.refs, Replace: replace, Promise: m.cold.promise, Stamp: m.copyStamp, Stable: m.stable,
		From: s.from, Entries: slices.Clone(m.log.from(s.from - 1)),
	}
	if replace {
		h := s.header
		out.Header = &h
	}
	*s = saveState{from: m.log.last() + 1, epoch: m.copyStamp.Epoch}
	m.saving = append(m.saving, saveNote{ref: m.refs, epoch: m.copyStamp.Epoch, index: m.log.last()})
	if m.eff.Save != nil {
		m.merge(out)
	}
	m.eff.Save = out
}

// merge joins two Saves of one step: the later one names all.
func (m *Machine) merge(out *Save) {
	first := m.eff.Save
	out.Replace = first.Replace
	out.Header = first.Header
	if first.From < out.From {
		keep := first.Entries[:min(uint64(len(first.Entries)), out.From-first.From)]
		out.Entries = append(slices.Clone(keep), out.Entries...)
		out.From = first.From
	}
}

// onSaved notes what is durable. Index counts only in the epoch that was on disk
// with it: a later epoch must be synced anew.
func (m *Machine) onSaved(ref uint64) {
	if m.state == cold && ref == m.cold.promiseRef {
		m.coldPromised()
		return
	}
	for i, n := range m.saving {
		if n.ref == ref {
			m.durEpoch, m.durIndex = n.epoch, n.index
			m.saving = slices.Clone(m.saving[i+1:])
			if m.holding && m.copy.Epoch == n.epoch && m.working() {
				m.holdUntil = min(m.holdUntil, m.now.Add(m.holdTime()))
			}
			return
		}
	}
}
