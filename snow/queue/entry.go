package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"rain/ring"
)

// Bounds of a table and of what an entry holds, in bytes where nothing else is
// said.
const (
	MaxStreams     = 10_000   // entries
	MaxEffects     = 50_000   // entries
	MaxEffectBytes = 32 << 20 // of all effects' entries
	MaxMethod      = 16
	MaxHost        = 255
	MaxPath        = 1024
	MaxRange       = 255
	MaxHead        = 1 << 10 // a response's head
	MaxConn        = 128
	MaxScope       = 255
	MaxName        = 64
	MaxInput       = 4 << 10
	MaxAnswer      = 2 << 10
	MaxResult      = 1 << 10 // of an inner op's result
	MaxRecent      = 64      // orphaned entries that are remembered

	// Keep is how long an effect with a key is kept after its end, in ms of the
	// cluster's time; KeepUnkeyed is for those without.
	Keep        = 24 * 60 * 60 * 1000
	KeepUnkeyed = 60 * 1000
	// MaxTick is the most that one tick counts, in ms. A tick may count time from
	// before an end that it follows: so much longer is kept.
	MaxTick = 10 * 60 * 1000
)

// Sum is a SHA-256; zero: none.
type Sum [32]byte

// IsZero reports whether there is none.
func (s Sum) IsZero() bool { return s == Sum{} }

// EntryID names an entry for ever: a counter of the member that made it.
type EntryID struct {
	Member ring.Member
	N      uint64 // from 1
}

// String is C.C.H.H-INCARNATION-N.
func (id EntryID) String() string {
	return fmt.Sprintf("%s-%d-%d", id.Member.ID, id.Member.Inc, id.N)
}

// ErrEntryID says that a text is not an entry's id.
var ErrEntryID = errors.New(`an entry's id is "C.C.H.H-INCARNATION-N"`)

// ParseEntryID reads what String writes.
func ParseEntryID(s string) (EntryID, error) {
	p := strings.Split(s, "-")
	if len(p) != 3 {
		return EntryID{}, fmt.Errorf("queue: %q: %w", s, ErrEntryID)
	}
	node, err := ring.ParseNodeID(p[0])
	inc, err2 := strconv.ParseUint(p[1], 10, 64)
	n, err3 := strconv.ParseUint(p[2], 10, 64)
	if err := errors.Join(err, err2, err3); err != nil {
		return EntryID{}, fmt.Errorf("queue: %q: %w (%w)", s, ErrEntryID, err)
	}
	return EntryID{Member: ring.Member{ID: node, Inc: ring.Incarnation(inc)}, N: n}, nil
}

// key orders entries by member, then counter.
func (id EntryID) key() string {
	b := appendMember(make([]byte, 0, 20), id.Member)
	return string(binary.BigEndian.AppendUint64(b, id.N))
}

// Kind is what an entry is.
type Kind uint8

// Kinds of entries.
const (
	Stream Kind = 1
	Effect Kind = 2
)

// State is how far an entry is.
type State uint8

// States of an entry.
const (
	Running  State = 1 // its owner is who took the request
	Claimed  State = 2 // its owner took it over from a member that left
	Done     State = 3 // an effect with its outcome
	Orphaned State = 4 // a stream that nobody went on with
)

func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Claimed:
		return "claimed"
	case Done:
		return "done"
	case Orphaned:
		return "orphaned"
	}
	return "unknown"
}

// Request is what is known of a request from its beginning. The response of a
// stream is a pure function of it and the object.
type Request struct {
	Client  netip.AddrPort
	Method  string
	Host    string
	Path    string // the request's target
	Range   string // the Range header
	Object  Sum    // what is sent; zero: no stored object
	Head    []byte // the response's head as it was sent
	Conn    []byte // of the connection, for whoever takes it over; begins with a version
	SinceMS uint64 // wall clock
}

// EffectPart is what only an effect has.
type EffectPart struct {
	Scope       string // the site, or another space of keys
	HasKey      bool
	Key         Sum // hash of the client's key
	Fingerprint Sum // of what a repeat must be equal in
	Name        string
	Input       []byte // gone when the effect has ended
	Body        Sum    // of the input, if it is stored as content
	Outcome     *Outcome
}

// Outcome is how an effect ended. It never changes.
type Outcome struct {
	Index  uint64 // of the op that recorded it
	Age    uint64 // cluster time then
	AtMS   uint64 // wall clock
	Answer []byte // what the effect's owner makes the response of
	Body   Sum    // of the response, if it is stored as content
	Result []byte // what the inner op said; empty without one
}

// Entry is one request. An entry that a table has given out is never written to.
type Entry struct {
	ID     EntryID
	Kind   Kind
	Owner  ring.Member // who answers it now
	State  State
	Offset uint64 // bytes handed to the owner's kernel
	Claims uint32 // how often another became its owner
	Request
	EffectPart // zero for streams
}

// size is what an effect counts of MaxEffectBytes.
func (e *Entry) size() int {
	n := 400 + len(e.Method) + len(e.Host) + len(e.Path) + len(e.Range) + len(e.Head) + len(e.Conn) +
		2*len(e.Scope) + len(e.Name) + len(e.Input)
	if e.Outcome != nil {
		n += 100 + len(e.Outcome.Answer) + len(e.Outcome.Result)
	}
	return n
}

func (e *Entry) keyName() string { return keyName(e.Scope, e.Key) }

func keyName(scope string, key Sum) string { return string(key[:]) + scope }
