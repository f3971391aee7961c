package queue

import (
	"fmt"

	"rain/ring"
	"rain/ring/wire"
)

// VerdictKind is what an op came to.
type VerdictKind uint8

// Verdicts. Outcome is set with Ended and Recorded, Owner with Busy and NotOwner,
// ID with all of an effect.
const (
	OK        VerdictKind = 1  // Batch, Settle, Tick, Abandon
	New       VerdictKind = 2  // Begin: the proposer owns the new entry ID; also for a Begin sent twice
	Busy      VerdictKind = 3  // Begin: ID has the key and has not ended
	Ended     VerdictKind = 4  // Begin, Finish: there is an outcome already, and it stands
	Mismatch  VerdictKind = 5  // Begin: the key belongs to another request (fingerprint)
	Full      VerdictKind = 6  // Begin: no room; nothing was begun
	NotMember VerdictKind = 7  // the proposer has left the view; nothing happened
	NotOwner  VerdictKind = 8  // Finish, Abandon: another owns the entry; nothing happened
	NoEntry   VerdictKind = 9  // Finish, Abandon: no such entry; nothing happened
	Malformed VerdictKind = 10 // nothing happened
	Recorded  VerdictKind = 11 // Finish: this outcome stands
)

func (k VerdictKind) String() string {
	names := [...]string{"", "ok", "new", "busy", "ended", "mismatch", "full", "not a member", "not the owner", "no entry", "malformed", "recorded"}
	if int(k) < len(names) && k > 0 {
		return names[k]
	}
	return fmt.Sprintf("verdict %d", k)
}

// Verdict is the result of an op, as ring.Rider's Apply gives it to the proposer.
// Wire format: kind u8 | id | owner member | 0 u8, or 1 u8 | outcome
type Verdict struct {
	Kind    VerdictKind
	ID      EntryID
	Owner   ring.Member
	Outcome *Outcome
}

// append writes the verdict.
func (v Verdict) append(b []byte) []byte {
	b = appendMember(appendID(append(b, byte(v.Kind)), v.ID), v.Owner)
	if v.Outcome == nil {
		return append(b, 0)
	}
	return v.Outcome.append(append(b, 1))
}

// ParseVerdict reads the result of an op.
func ParseVerdict(b []byte) (Verdict, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	v := Verdict{Kind: VerdictKind(r.U8()), ID: r.id(), Owner: r.member()}
	switch r.U8() {
	case 0:
	case 1:
		v.Outcome = r.outcome()
	default:
		r.Bad = true
	}
	if !r.Done() || v.Kind < OK || v.Kind > Recorded {
		return Verdict{}, fmt.Errorf("queue: result of %d bytes: %w", len(b), ErrMalformed)
	}
	return v, nil
}

func (o *Outcome) append(b []byte) []byte {
	b = appendU64(appendU64(appendU64(b, o.Index), o.Age), o.AtMS)
	return append16(appendSum(append16(b, string(o.Answer)), o.Body), string(o.Result))
}

func (r *reader) outcome() *Outcome {
	return &Outcome{
		Index: r.U64(), Age: r.U64(), AtMS: r.U64(),
		Answer: r.bytes16(MaxAnswer), Body: r.sum(), Result: r.bytes16(MaxResult),
	}
}
