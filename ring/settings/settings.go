// Package settings is what all nodes of a cluster have in common and an operator
// may change while they run: texts under names, on the token. It is a ring.Rider:
// pure, and equal on all members. What a name means, and which values it may
// have, is the business of who proposes.
//
// Guarantees: Found sets a name only if it has no value yet, so that of several
// files that found a cluster one wins, on all members the same.
//
// Limits: MaxKeys names of at most MaxKey bytes, values of at most MaxValue bytes.
// Times are wall clock and ride in the ops; they are for people.
package settings

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"rain/ring"
)

// Bounds of what ops can cause.
const (
	MaxKeys  = 64
	MaxKey   = 63
	MaxValue = 1024
)

// Op wire format, version 1, big-endian:
//
//	op        version u8 | kind u8 | key: length u8, text | value: length u16, text | at u64, wall clock ms
//	snapshot  version u8 | count u8 | key | value | at u64 | by u32
//	result    empty, or why nothing changed
const version = 1

// Kind names an op.
type Kind uint8

// The ops.
const (
	Set   Kind = 1
	Unset Kind = 2
	Found Kind = 3 // as Set, if it has no value yet
)

// Op is a change.
type Op struct {
	Kind  Kind
	Key   string
	Value string
	AtMS  uint64
}

// Setting is one name's value.
type Setting struct {
	Key, Value string
	AtMS       uint64
	By         ring.NodeID // who proposed it
}

// ErrMalformed says that bytes are no op or snapshot of this version.
var ErrMalformed = errors.New("settings: malformed")

// Append writes the op's bytes; a key or value that is too long is cut.
func (op Op) Append(b []byte) []byte {
	b = append(b, version, byte(op.Kind))
	return appendPair(b, op.Key, op.Value, op.AtMS)
}

func appendPair(b []byte, key, value string, at uint64) []byte {
	key, value = key[:min(len(key), MaxKey)], value[:min(len(value), MaxValue)]
	b = append(append(b, byte(len(key))), key...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return binary.BigEndian.AppendUint64(append(b, value...), at)
}

// takePair reads what appendPair wrote, and returns what follows.
func takePair(b []byte) (key, value string, at uint64, rest []byte, ok bool) {
	if len(b) < 1 || int(b[0]) > MaxKey || len(b) < 1+int(b[0])+2 {
		return "", "", 0, nil, false
	}
	key, b = string(b[1:1+b[0]]), b[1+b[0]:]
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxValue || len(b) < 2+n+8 {
		return "", "", 0, nil, false
	}
	value, b = string(b[2:2+n]), b[2+n:]
	return key, value, binary.BigEndian.Uint64(b), b[8:], key != "" && utf8.ValidString(key) && utf8.ValidString(value)
}

// ParseOp reads one op.
func ParseOp(b []byte) (Op, error) {
	if len(b) < 2 || b[0] != version || b[1] < byte(Set) || b[1] > byte(Found) {
		return Op{}, fmt.Errorf("%w op of %d bytes", ErrMalformed, len(b))
	}
	op := Op{Kind: Kind(b[1])}
	var rest []byte
	var ok bool
	if op.Key, op.Value, op.AtMS, rest, ok = takePair(b[2:]); !ok || len(rest) != 0 {
		return Op{}, fmt.Errorf("%w op of %d bytes", ErrMalformed, len(b))
	}
	return op, nil
}

// State are the settings at one point of the log. Nobody changes one.
type State struct {
	List    []Setting // by key
	changed chan struct{}
}

// Changed is closed when there is a newer state.
func (s *State) Changed() <-chan struct{} { return s.changed }

// Get finds a setting.
func (s *State) Get(key string) (Setting, bool) {
	i, ok := slices.BinarySearchFunc(s.List, key, byKey)
	if !ok {
		return Setting{}, false
	}
	return s.List[i], true
}

func byKey(s Setting, key string) int { return strings.Compare(s.Key, key) }

// Rider is the settings on the token.
type Rider struct{ now atomic.Pointer[State] }

var _ ring.Rider = (*Rider)(nil)

// NewRider returns a rider without settings.
func NewRider() *Rider {
	r := &Rider{}
	r.now.Store(&State{changed: make(chan struct{})})
	return r
}

// State is the newest state.
func (r *Rider) State() *State { return r.now.Load() }

func (r *Rider) publish(list []Setting) {
	close(r.now.Swap(&State{List: list, changed: make(chan struct{})}).changed)
}

// View is of no matter here.
func (r *Rider) View(uint64, ring.View, ring.Instant) {}

// Apply changes one setting. The result is empty, or says why nothing changed.
func (r *Rider) Apply(_ uint64, from ring.Member, data []byte) []byte {
	op, err := ParseOp(data)
	if err != nil {
		return []byte(err.Error())
	}
	list := slices.Clone(r.State().List)
	i, known := slices.BinarySearchFunc(list, op.Key, byKey)
	next := Setting{Key: op.Key, Value: op.Value, AtMS: op.AtMS, By: from.ID}
	switch {
	case op.Kind == Unset && known:
		list = slices.Delete(list, i, i+1)
	case op.Kind == Unset:
		return fmt.Appendf(nil, "there is no setting %q", op.Key)
	case known && op.Kind == Found:
		return fmt.Appendf(nil, "%q is set already", op.Key)
	case known:
		list[i] = next
	case len(list) >= MaxKeys:
		return fmt.Appendf(nil, "there are %d settings already", len(list))
	default:
		list = slices.Insert(list, i, next)
	}
	r.publish(list)
	return nil
}

// Snapshot writes the settings.
func (r *Rider) Snapshot(w io.Writer) error {
	list := r.State().List
	b := []byte{version, byte(len(list))}
	for _, s := range list {
		b = appendPair(b, s.Key, s.Value, s.AtMS)
		b = binary.BigEndian.AppendUint32(b, uint32(s.By))
	}
	_, err := w.Write(b)
	return err
}

// Restore replaces the settings.
func (r *Rider) Restore(src io.Reader) error {
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(src, 1<<20)); err != nil {
		return fmt.Errorf("settings: reading a snapshot: %w", err)
	}
	b := buf.Bytes()
	if len(b) < 2 || b[0] != version || b[1] > MaxKeys {
		return fmt.Errorf("%w snapshot of %d bytes", ErrMalformed, len(b))
	}
	n, b := int(b[1]), b[2:]
	var list []Setting
	for range n {
		var s Setting
		var ok bool
		if s.Key, s.Value, s.AtMS, b, ok = takePair(b); !ok || len(b) < 4 || len(list) > 0 && s.Key <= list[len(list)-1].Key {
			return fmt.Errorf("%w snapshot: setting %d", ErrMalformed, len(list))
		}
		s.By, b = ring.NodeID(binary.BigEndian.Uint32(b)), b[4:]
		list = append(list, s)
	}
	if len(b) != 0 {
		return fmt.Errorf("%w snapshot: %d bytes too many", ErrMalformed, len(b))
	}
	r.publish(list)
	return nil
}
