package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"rain/ring"
	"rain/store/array"
)

// sink takes one column to where it belongs.
type sink struct {
	node   ring.NodeID
	column int
	ch     chan *batch
	dead   chan struct{} // closed when nobody takes batches any more
	drop   context.CancelCauseFunc
}

// hand gives a batch to all sinks that still take some.
func (p *stripePut) hand(b *batch) error {
	b.refs.Store(int32(len(p.sinks) + 1))
	for _, k := range p.sinks {
		if err := p.push(k, b); err != nil {
			return err
		}
	}
	p.release(b)
	return nil
}

func (p *stripePut) release(b *batch) {
	if b.refs.Add(-1) == 0 {
		p.s.batches.Put(b)
	}
}

// push gives a batch to a sink. A member that makes no progress is left out
// after a while; this node's own disk is waited for.
func (p *stripePut) push(k *sink, b *batch) error {
	select {
	case k.ch <- b:
		return nil
	case <-k.dead:
		p.release(b)
		return nil
	default:
	}
	tick := time.NewTicker(viewPoll)
	defer tick.Stop()
	for since := time.Now(); ; {
		select {
		case k.ch <- b:
			return nil
		case <-k.dead:
			p.release(b)
			return nil
		case <-p.f.ctx.Done():
			return fmt.Errorf("store: body not yet on enough members: %w: %w", ErrUnavailable, context.Cause(p.f.ctx))
		case <-tick.C:
		}
		// One that left the view may be back at once, where nodes are busy: it is
		// given up early only if it can be spared.
		gone := !slices.Contains(p.s.ring.Members(), k.node)
		if k.node != p.s.ring.Self() && (gone && p.spare() || time.Since(since) > p.patience()) {
			k.drop(errLeftOut)
		}
	}
}

// patience is how long a member may be behind: longer if it is needed.
func (p *stripePut) patience() time.Duration {
	if p.spare() {
		return p.s.cfg.PeerStall
	}
	return patience * p.s.cfg.PeerStall
}

// spare reports whether the put can do with one member less.
func (p *stripePut) spare() bool {
	alive := 0
	for _, k := range p.sinks {
		select {
		case <-k.dead:
		default:
			alive++
		}
	}
	return alive > max(p.code.K, len(p.nodes)/2+1)
}

// next returns the next batch; nil: the body has ended.
func (p *stripePut) next(ctx context.Context, k *sink) (*batch, error) {
	select {
	case b := <-k.ch:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// toDisk writes this node's column.
func (p *stripePut) toDisk(ctx context.Context, k *sink) error {
	if p.early.known() && p.s.presentColumn(p.early.body, array.Layout{Geometry: p.code, Size: p.early.size}) {
		return nil
	}
	w := &columnWriter{s: p.s, code: p.code, column: k.column}
	defer w.discard()
	for {
		b, err := p.next(ctx, k)
		if err != nil {
			return err
		}
		if b == nil {
			return w.commit(p.end)
		}
		for i := range b.units {
			if err = w.copy(b.unit(p.code, k.column, i)); err != nil {
				break
			}
		}
		p.release(b)
		if err != nil {
			return err
		}
	}
}

// errMidway hides the fault of a connection that has taken part of a column:
// that call cannot be repeated.
var errMidway = errors.New("store: the member went away in the middle of a column")

// toMember sends a column.
func (p *stripePut) toMember(ctx context.Context, k *sink) error {
	head := stripeHead{code: p.code, column: k.column}
	req := request{kind: kindColumn, sum: p.early.body, size: unknownSize}
	if p.early.size > 0 {
		req.size = uint64(p.early.size)
	}
	return p.s.call(ctx, k.node, servicePut, func(conn net.Conn) error {
		c, release := guardConn(ctx, conn, patience*p.s.cfg.PeerStall)
		defer release()
		if _, err := c.Write(head.append(req.append(nil))); err != nil {
			return err
		}
		word, err := c.readStatus(syncTime(p.s.cfg.PeerStall, 0))
		if err != nil || word != statusGo {
			return settled(word, err)
		}
		for {
			b, err := p.next(ctx, k)
			if err != nil {
				return err
			}
			if b == nil {
				break
			}
			_, err = c.Write(b.wire(p.code, k.column))
			p.release(b)
			if err != nil {
				return fmt.Errorf("%w: %v", errMidway, err)
			}
		}
		if _, err := c.Write(p.end.append(nil)); err != nil {
			return fmt.Errorf("%w: %v", errMidway, err)
		}
		if word, err = c.readStatus(syncTime(p.s.cfg.PeerStall, p.end.size/int64(p.code.K))); err != nil {
			return fmt.Errorf("%w: %v", errMidway, err)
		}
		return settled(word, nil)
	})
}
