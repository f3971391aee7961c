package store

import (
	"sync"
	"time"

	"rain/store/catalog"
)

// pins are the striped bodies that are open on this node. What is open on any
// member is not collected, although no object refers to it any more.
type pins struct {
	mu   sync.Mutex
	open map[catalog.Sum]*pin
}

type pin struct {
	rec   *catalog.Record // where its columns are, as last told
	n     int
	until time.Time // a client that reads symbols itself may come again until then
}

func newPins() *pins { return &pins{open: map[catalog.Sum]*pin{}} }

func (p *pins) add(rec *catalog.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(rec).n++
}

func (p *pins) of(rec *catalog.Record) *pin {
	if p.open[rec.Body] == nil {
		p.open[rec.Body] = &pin{rec: rec}
	}
	return p.open[rec.Body]
}

// lend keeps a body open for a client that is not a member and does not say when
// it has read all.
func (p *pins) lend(rec *catalog.Record, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(rec).until = until
}

func (p *pins) drop(body catalog.Sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.open[body]
	if e.n--; e.n == 0 && e.until.IsZero() {
		delete(p.open, body)
	}
}

// change follows the columns of what is open.
func (p *pins) change(c catalog.Change) {
	if !c.Moved || !c.Needed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.open[c.Rec.Body]; e != nil {
		e.rec = c.Rec
	}
}

// last is the record of an open body; nil: it is not open.
func (p *pins) last(body catalog.Sum) *catalog.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.open[body]; e != nil {
		return e.rec
	}
	return nil
}

// orphaned lists the open bodies that no object has.
func (p *pins) orphaned(v *catalog.View, now time.Time) (out []catalog.Sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for body, e := range p.open {
		if e.n == 0 && now.After(e.until) {
			delete(p.open, body)
			continue
		}
		if _, ok := v.Body(body); !ok {
			out = append(out, body)
		}
	}
	sortSums(out)
	return out
}
