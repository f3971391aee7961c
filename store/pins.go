package store

import (
	"sync"

	"rain/store/catalog"
)

// pins are the striped bodies that are open on this node. What is open on any
// member is not collected, although no object refers to it any more.
type pins struct {
	mu   sync.Mutex
	open map[catalog.Sum]*pin
}

type pin struct {
	rec *catalog.Record // where its columns are, as last told
	n   int
}

func newPins() *pins { return &pins{open: map[catalog.Sum]*pin{}} }

func (p *pins) add(rec *catalog.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[rec.Body] == nil {
		p.open[rec.Body] = &pin{rec: rec}
	}
	p.open[rec.Body].n++
}

func (p *pins) drop(body catalog.Sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.open[body]
	if e.n--; e.n == 0 {
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
func (p *pins) orphaned(v *catalog.View) (out []catalog.Sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for body := range p.open {
		if _, ok := v.Body(body); !ok {
			out = append(out, body)
		}
	}
	sortSums(out)
	return out
}
