package queue

import (
	"bytes"

	"rain/ring"
)

// begin claims an effect for who proposed it, unless its key is taken.
func (t *Table) begin(from ring.Member, op *Op) Verdict {
	id := EntryID{from, op.N}
	if e := t.Find(id); e != nil {
		return t.again(e, from, op)
	}
	e := &Entry{ID: id, Kind: Effect, Owner: from, State: Running, Request: op.Request.clone(), EffectPart: op.Effect}
	e.Input = bytes.Clone(op.Effect.Input)
	if e.HasKey {
		if old := t.Lookup(e.Scope, e.Key); old != nil {
			return t.repeat(old, op)
		}
	}
	if t.effects.Len() >= MaxEffects || t.effectBytes+e.size() > MaxEffectBytes {
		t.Refused++
		return Verdict{Kind: Full}
	}
	t.Begun++
	t.addEffect(e)
	return Verdict{Kind: New, ID: id, Owner: from}
}

// again answers a Begin that came before: its proposer did not hear of it.
func (t *Table) again(e *Entry, from ring.Member, op *Op) Verdict {
	switch {
	case e.Kind != Effect || e.Fingerprint != op.Effect.Fingerprint:
		return Verdict{Kind: Malformed}
	case e.Outcome != nil:
		return Verdict{Kind: Ended, ID: e.ID, Owner: e.Owner, Outcome: e.Outcome}
	case e.Owner != from:
		return Verdict{Kind: Busy, ID: e.ID, Owner: e.Owner}
	}
	return Verdict{Kind: New, ID: e.ID, Owner: from}
}

// repeat answers a Begin whose key is taken.
func (t *Table) repeat(e *Entry, op *Op) Verdict {
	v := Verdict{ID: e.ID, Owner: e.Owner}
	switch {
	case e.Fingerprint != op.Effect.Fingerprint:
		v.Kind = Mismatch
	case e.Outcome == nil:
		v.Kind = Busy
	default:
		v.Kind, v.Outcome = Ended, e.Outcome
		t.Replayed++
	}
	return v
}

// finish applies the inner op and records the outcome, unless there is one.
func (r *Rider) finish(index uint64, from ring.Member, op *Op) Verdict {
	t := r.live
	e, v := t.owned(from, op.ID)
	if e == nil {
		return v
	}
	var result []byte
	if op.Rider != 0 {
		inner := r.inner[op.Rider]
		if inner == nil {
			return Verdict{Kind: Malformed, ID: op.ID, Owner: from}
		}
		result = inner.Apply(index, from, op.Inner)
		result = bytes.Clone(result[:min(len(result), MaxResult)])
	}
	t.removeEffect(e)
	c := *e
	c.State, c.Input = Done, nil
	c.Outcome = &Outcome{Index: index, Age: t.Age, AtMS: op.AtMS, Answer: bytes.Clone(op.Answer), Body: op.Body, Result: result}
	t.addEffect(&c)
	r.remember(&c)
	return Verdict{Kind: Recorded, ID: op.ID, Owner: from, Outcome: c.Outcome}
}

// owned returns the effect if it has not ended and is from's; else why not.
func (t *Table) owned(from ring.Member, id EntryID) (*Entry, Verdict) {
	e, ok := t.effects.Get(id.key())
	switch {
	case !ok:
		return nil, Verdict{Kind: NoEntry, ID: id}
	case e.Outcome != nil:
		return nil, Verdict{Kind: Ended, ID: id, Owner: e.Owner, Outcome: e.Outcome}
	case e.Owner != from:
		return nil, Verdict{Kind: NotOwner, ID: id, Owner: e.Owner}
	}
	return e, Verdict{}
}

// abandon takes an effect off the queue as if it had never begun.
func (t *Table) abandon(from ring.Member, id EntryID) Verdict {
	e, v := t.owned(from, id)
	if e == nil {
		return v
	}
	t.removeEffect(e)
	return Verdict{Kind: OK, ID: id, Owner: from}
}

func (t *Table) addEffect(e *Entry) {
	t.put(e)
	t.effectBytes += e.size()
	t.refer(e, 1)
	if e.Outcome != nil {
		t.ended++
	}
	if e.HasKey {
		t.keys.Set(e.keyName(), e.ID.key())
	}
}

func (t *Table) removeEffect(e *Entry) {
	k := e.ID.key()
	t.effects.Delete(k)
	t.claims.Delete(k)
	t.effectBytes -= e.size()
	t.refer(e, -1)
	if e.Outcome != nil {
		t.ended--
	}
	if e.HasKey {
		t.keys.Delete(e.keyName())
	}
}

// refer counts the stored contents that e needs: the input's until its end, then
// the answer's.
func (t *Table) refer(e *Entry, by int) {
	body := e.Body
	if e.Outcome != nil {
		body = e.Outcome.Body
	}
	if body.IsZero() {
		return
	}
	k := string(body[:])
	n, _ := t.bodies.Get(k)
	if n += by; n > 0 {
		t.bodies.Set(k, n)
	} else {
		t.bodies.Delete(k)
	}
}

// perTick is how many ended effects one tick lets go at most: the loop of the
// ring waits for it.
const perTick = 2000

// tick counts time and lets go of what was kept for long enough.
func (r *Rider) tick(op *Op) {
	t := r.live
	if op.Seq != t.Ticks {
		return
	}
	t.Ticks++
	t.Age += uint64(min(op.ElapsedMS, MaxTick))
	left := perTick
	r.keyed, left = t.expire(r.keyed, Keep, left)
	r.unkeyed, _ = t.expire(r.unkeyed, KeepUnkeyed, left)
}

// expire lets go of the oldest of list, ended effects, at most n of them.
func (t *Table) expire(list []string, keep uint64, n int) (rest []string, left int) {
	for len(list) > 0 && n > 0 {
		e, ok := t.effects.Get(list[0])
		if ok && t.Age-e.Outcome.Age < keep+MaxTick {
			break
		}
		if ok {
			t.removeEffect(e)
		}
		list = list[1:]
		n--
	}
	return list, n
}

// remember puts an ended effect in the line of those that expire.
func (r *Rider) remember(e *Entry) {
	if e.HasKey {
		r.keyed = append(r.keyed, e.ID.key())
	} else {
		r.unkeyed = append(r.unkeyed, e.ID.key())
	}
}
