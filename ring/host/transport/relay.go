package transport

import (
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// A relay carries datagrams for a peer that no direct path reaches: sealed for
// that peer, within one sealed for the neighbour, which takes the outer seal off
// and sends the rest on in one of its own. It cannot read or change what it
// carries, and never hands it to another relay.
const (
	// tableEvery is how often a node tells its neighbours whom it reaches; at
	// once when that changes, but not more often than tablePause, and after
	// tableBurst of them as often as the budget of pings allows: when paths flap
	// because a machine has no time left, telling of it must not take the rest.
	tableEvery = time.Second
	tablePause = 10 * time.Millisecond
	tableBurst = 4
	// tableOld is how long a table is believed.
	tableOld = 4 * tableEvery
	// What one peer may have carried: datagrams a second, and in a burst.
	relayRate  = 20_000
	relayBurst = 2_000
	// relayProven is for how long a neighbour by which something came is not given
	// up for another one. A table says late what broke: after a switch has died, most
	// neighbours may claim what they cannot do any more.
	relayProven = 100 * time.Millisecond
)

// relayed counts what was carried for others.
type relayed struct{ datagrams, bytes uint64 }

// sendTables tells all neighbours whom this node reaches, if it is time.
func (t *Transport) sendTables(now ring.Instant) {
	if now < t.tableAt || t.cfg.Relays == 0 {
		return
	}
	if wait := t.tableWait(now); wait > 0 {
		t.tableAt = now.Add(wait)
		return
	}
	t.tableRoom--
	t.tableAt, t.tableSent = now.Add(tableEvery), now
	t.tableNo++
	rows := make([]row, 0, len(t.order))
	for _, p := range t.order {
		if p.session != nil && len(rows) < sendTable {
			rows = append(rows, row{id: p.id, up: uint8(p.toldUp()), paths: uint8(p.nDirect)})
		}
	}
	t.frame = appendTable(t.frame[:0], t.tableNo, rows)
	for _, p := range t.order {
		t.twice(now, p)
	}
}

// tableWait is how long the next table has to wait.
func (t *Transport) tableWait(now ring.Instant) time.Duration {
	if t.tableSent == 0 {
		t.tableRoom, t.tableFill = tableBurst, now
		return 0
	}
	each := time.Duration(2*max(len(t.order), 1)) * time.Second / time.Duration(t.cfg.PingBudget)
	each = min(each, tableEvery)
	t.tableRoom = min(tableBurst, t.tableRoom+float64(now.Sub(t.tableFill))/float64(each))
	t.tableFill = now
	wait := tablePause - now.Sub(t.tableSent)
	if t.tableRoom < 1 {
		wait = max(wait, time.Duration((1-t.tableRoom)*float64(each))+time.Microsecond)
	}
	return wait
}

// takeTable notes whom a neighbour reaches.
func (t *Transport) takeTable(now ring.Instant, p *peer, b []byte) {
	no, rows, err := parseTable(b)
	if err != nil {
		t.dropped[dropMalformed]++
		return
	}
	if no <= p.tableNo {
		return // overtaken by a newer one
	}
	if !slices.Equal(rows, p.table) || now.Sub(p.tableAt) > tableEvery*2 {
		t.relaysDue = true
	}
	p.table, p.tableNo, p.tableAt = rows, no, now
}

// toldUp is how many direct paths work as far as is known.
func (p *peer) toldUp() (n int) {
	for _, a := range p.direct() {
		if a.told == rudp.Up {
			n++
		}
	}
	return n
}

// reaches reports whether a neighbour says that it has a path Up to a node.
func (p *peer) reaches(now ring.Instant, id ring.NodeID) bool {
	if now.Sub(p.tableAt) > tableOld || p.tableAt == 0 {
		return false
	}
	return slices.ContainsFunc(p.table, func(r row) bool { return r.id == id && r.up > 0 })
}

// assignRelays chooses the neighbours that stand by for each peer: those that
// reach it, each node beginning elsewhere so that the load spreads.
func (t *Transport) assignRelays(now ring.Instant) {
	if !t.relaysDue {
		return
	}
	t.relaysDue = false
	for _, p := range t.order {
		slots := p.paths[p.nDirect:]
		for i, s := range slots {
			if s.via != nil && !t.canRelay(now, s.via, p) {
				t.relayBy(now, p, p.nDirect+i, nil)
			}
		}
		from := int((uint32(t.me.ID)*31 + uint32(p.id)) % uint32(len(t.order)))
		for k := range t.order {
			q := t.order[(from+k)%len(t.order)]
			free := slices.IndexFunc(slots, func(s *path) bool { return s.via == nil })
			if free < 0 {
				break
			}
			if !slices.ContainsFunc(slots, func(s *path) bool { return s.via == q }) && t.canRelay(now, q, p) {
				t.relayBy(now, p, p.nDirect+free, q)
			}
		}
	}
}

// relayBy has the relay path i of a peer lead by a neighbour, or nowhere.
func (t *Transport) relayBy(now ring.Instant, p *peer, i int, q *peer) {
	p.paths[i].via, p.paths[i].heard = q, 0
	if p.conn != nil {
		p.conn.ResetLink(now, i)
		t.tell(now, p, i, false)
	}
}

// relayPath is the path that leads to a peer by a neighbour; -1: relays are off.
// What came may be forged or a replay, so nothing that is in use gives way to it.
func (t *Transport) relayPath(now ring.Instant, p, q *peer) int {
	slots := p.paths[p.nDirect:]
	i := slices.IndexFunc(slots, func(s *path) bool { return s.via == q })
	if i < 0 {
		if i = slices.IndexFunc(slots, func(s *path) bool { return s.via == nil }); i < 0 {
			return len(p.paths) - 1 // -1 for a peer without any
		}
		t.relayBy(now, p, p.nDirect+i, q)
	}
	return p.nDirect + i
}

// relayProves notes by which neighbour something authentic has just come from a
// peer: that one can, and answers go back by it, also if others stood by so far.
func (t *Transport) relayProves(now ring.Instant, p, q *peer) int {
	slots := p.paths[p.nDirect:]
	i := slices.IndexFunc(slots, func(s *path) bool { return s.via == q })
	if i < 0 {
		if i = oldest(slots); i < 0 || slots[i].via != nil && now.Sub(slots[i].heard) < relayProven {
			return len(p.paths) - 1
		}
		t.relayBy(now, p, p.nDirect+i, q)
	}
	slots[i].heard = now
	return p.nDirect + i
}

// oldest is the relay path that leads nowhere, else the one that was heard longest
// ago.
func oldest(slots []*path) (at int) {
	at = -1
	for i, s := range slots {
		switch {
		case s.via == nil:
			return i
		case at < 0 || s.heard < slots[at].heard:
			at = i
		}
	}
	return at
}

// rotateRelays has those relay paths of a peer by which nothing arrives lead by
// other neighbours that claim to reach it, one after the other.
func (t *Transport) rotateRelays(now ring.Instant, p *peer) {
	slots := p.paths[p.nDirect:]
	rotated := false
	for i, s := range slots {
		if s.via == nil || now.Sub(s.heard) < relayProven || p.conn.Link(p.nDirect+i).Fails == 0 {
			continue
		}
		from := slices.Index(t.order, s.via)
		for k := range t.order {
			q := t.order[(from+1+k)%len(t.order)]
			if !slices.ContainsFunc(slots, func(s *path) bool { return s.via == q }) && t.canRelay(now, q, p) {
				t.relayBy(now, p, p.nDirect+i, q)
				rotated = true
				break
			}
		}
	}
	if rotated {
		t.apply(p, p.conn.Tick(now)) // what flew by the old one goes out again
	}
}

// canRelay reports whether a neighbour reaches a peer, as far as it has told.
func (t *Transport) canRelay(now ring.Instant, q, p *peer) bool {
	return q != p && q.reached() && q.reaches(now, p.id)
}

// sendByRelay has a neighbour carry a datagram that is sealed for a peer.
func (t *Transport) sendByRelay(now ring.Instant, p, q *peer, b []byte) {
	if q == nil || !q.reached() {
		t.dropped[dropRelay]++
		return
	}
	t.frame = append(t.frame[:0], kindRelay)
	t.frame = binary.BigEndian.AppendUint32(t.frame, uint32(p.id))
	t.frame = append(t.frame, b...)
	t.twice(now, q)
}

// twice seals t.frame for a neighbour and sends it on one path, or on two.
func (t *Transport) twice(now ring.Instant, q *peer) {
	ways := t.ways(q)
	if len(ways) == 0 {
		return
	}
	t.outer = q.session.Seal(t.outer[:0], t.frame)
	for _, a := range ways {
		t.out(now, q, a, t.outer)
	}
}

// carry passes on what a peer asks for, if it is its own and there is a path.
func (t *Transport) carry(now ring.Instant, from *peer, b []byte) {
	to, inner, err := parseRelay(b)
	if err != nil {
		t.dropped[dropMalformed]++
		return
	}
	p := t.peers[to]
	if p == nil || p == from || !p.reached() || t.cfg.Relays == 0 || !from.mayRelay(now) {
		t.dropped[dropRelay]++
		return
	}
	if !seal.IsHello(inner) {
		if f, o, err := seal.Peek(inner); err != nil || f.ID != from.id || o.ID != to {
			t.dropped[dropMalformed]++
			return
		}
	}
	t.carried.datagrams++
	t.carried.bytes += uint64(len(inner))
	t.frame = append(append(t.frame[:0], kindRelayed), inner...)
	t.twice(now, p)
}

// mayRelay keeps one peer from having more carried than is fair.
func (p *peer) mayRelay(now ring.Instant) bool {
	p.relayRoom = min(relayBurst, p.relayRoom+relayRate*now.Sub(p.relayAt).Seconds())
	p.relayAt = now
	if p.relayRoom < 1 {
		return false
	}
	p.relayRoom--
	return true
}

// greetByRelay has all neighbours that reach a peer tell it who this is: there
// is no other way to learn its incarnation.
func (t *Transport) greetByRelay(now ring.Instant, p *peer) {
	n := 0
	for _, q := range t.order {
		if q != p && n < rudp.MaxLinks-MaxPaths && q.reaches(now, p.id) && q.reached() {
			t.sealed = t.keys.Load().SealHello(t.sealed[:0], seal.Hello{From: t.me, To: p.id, Known: p.inc})
			t.sendByRelay(now, p, q, t.sealed)
			n++
		}
	}
}

// noteRelays writes down when a peer begins or ends to be reached by relay only.
func (t *Transport) noteRelays() {
	for _, p := range t.order {
		by := ""
		if p.conn != nil && p.upPaths() == 0 {
			for _, a := range p.paths[p.nDirect:] {
				if a.via != nil && a.told != rudp.Dead {
					by = a.via.id.String()
					break
				}
			}
		}
		if (by != "") != p.byRelay {
			p.byRelay = by != ""
			if p.byRelay {
				t.report(slog.LevelWarn, "peer is reached by a neighbour only", slog.String("peer", p.id.String()), slog.String("relay", by))
			} else {
				t.report(slog.LevelInfo, "peer is no longer reached by a neighbour only", slog.String("peer", p.id.String()))
			}
		}
	}
}
