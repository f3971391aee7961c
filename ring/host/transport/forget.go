package transport

import (
	"slices"

	"rain/ring"
)

// Forget drops a peer and its paths. What was on its way to it has failed. If it
// calls again it is learned again, as any holder of the key.
func (t *Transport) Forget(id ring.NodeID) {
	t.mu.Lock()
	defer t.unlock()
	p := t.peers[id]
	if p == nil {
		return
	}
	if p.conn != nil {
		for _, v := range p.conn.Abort() {
			t.fail(&t.misc, v.Ref)
		}
	}
	for _, m := range p.pending {
		t.fail(&t.misc, m.ref)
	}
	delete(t.peers, id)
	t.order = slices.DeleteFunc(slices.Clone(t.order), func(q *peer) bool { return q == p }) // a loop may be on the old one
	for _, q := range t.order {
		for _, a := range q.paths {
			if a.via == p {
				a.via = nil
			}
		}
	}
	t.relaysDue = true
}
