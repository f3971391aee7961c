package example

import (
	"encoding/binary"
	"encoding/json"
	"io"

	"rain/ring"
)

// Counter is a number that all members agree on. Its op is eight bytes to add; the
// result is the sum after it.
type Counter struct{ sum int64 }

func (c *Counter) Apply(_ uint64, _ ring.Member, op []byte) []byte {
	if len(op) == 8 {
		c.sum += int64(binary.BigEndian.Uint64(op))
	}
	return binary.BigEndian.AppendUint64(nil, uint64(c.sum))
}

func (c *Counter) View(uint64, ring.View, ring.Instant) {}
func (c *Counter) Snapshot(w io.Writer) error           { return binary.Write(w, binary.BigEndian, c.sum) }
func (c *Counter) Restore(r io.Reader) error            { return binary.Read(r, binary.BigEndian, &c.sum) }

// Add is the op that adds d.
func Add(d int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(d)) }

// Lock is held by one member at a time. "lock" takes it if it is free, or if its
// holder has left the view; "unlock" gives it back. The result is "yes" or "no".
//
// Who got it acts only while its lease runs, and not before the instant that came
// with the op: until then the lease of a holder that was left out may still run.
type Lock struct {
	holder ring.Member
	from   ring.Instant
	view   ring.View
	freeAt ring.Instant
}

func (l *Lock) Apply(_ uint64, from ring.Member, op []byte) []byte {
	switch free := l.holder.IsZero() || !l.view.Has(l.holder); {
	case string(op) == "lock" && (free || l.holder == from):
		l.holder, l.from = from, l.freeAt
	case string(op) == "unlock" && l.holder == from:
		l.holder = ring.Member{}
	default:
		return []byte("no")
	}
	return []byte("yes")
}

func (l *Lock) View(_ uint64, v ring.View, freeAt ring.Instant) { l.view, l.freeAt = v, freeAt }

// Snapshot leaves the instants out: they are private to a host, and Restore is
// followed by a View with its own.
func (l *Lock) Snapshot(w io.Writer) error { return binary.Write(w, binary.BigEndian, l.holder) }

// Restore is for a new life, which holds nothing: it needs no From.
func (l *Lock) Restore(r io.Reader) error { return binary.Read(r, binary.BigEndian, &l.holder) }

// Holds reports whether n may act as the holder now.
func (l *Lock) Holds(n *Node) bool { return l.holder == n.me && n.Leased() && n.c.now >= l.from }

// Map is keys and values. Its op is JSON: {"key": "value"} sets, null deletes.
type Map struct{ all map[string]string }

func (m *Map) Apply(_ uint64, _ ring.Member, op []byte) []byte {
	var change map[string]*string
	if err := json.Unmarshal(op, &change); err != nil {
		return []byte(err.Error()) // changes nothing, on every member
	}
	if m.all == nil {
		m.all = map[string]string{}
	}
	for k, v := range change {
		if v == nil {
			delete(m.all, k)
		} else {
			m.all[k] = *v
		}
	}
	return []byte("ok")
}

func (m *Map) View(uint64, ring.View, ring.Instant) {}

// Snapshot is equal, byte for byte, on members with the same state: JSON sorts keys.
func (m *Map) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(m.all) }

func (m *Map) Restore(r io.Reader) error {
	m.all = nil
	return json.NewDecoder(r).Decode(&m.all)
}
