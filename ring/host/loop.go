package host

import (
	"context"
	"fmt"
	"log/slog"

	"rain/ring"
	"rain/ring/host/clock"
)

// Message is called by the transport with a message that it authenticated.
func (n *Node) Message(from ring.Member, msg []byte) {
	m, err := ring.ParseMessage(msg)
	if err != nil {
		n.meter.malformed.Add(1)
		n.log.Debug("message of a member does not parse", slog.String("from", from.String()), slog.Any("err", err))
		return
	}
	n.pass(received{n.life.Load(), ring.Received{From: from, Msg: m}})
}

// Verdict is called by the transport.
func (n *Node) Verdict(ref uint64, ok bool) { n.pass(verdict{ref, ok}) }

// alarm is called by the waker.
func (n *Node) alarm() { n.pass(nil) }

// pass handles an item in the goroutine that brought it, if it can be now.
func (n *Node) pass(item any) {
	if items, ok := n.mail.pass(item); ok {
		n.turn(items)
		n.mail.leave(n.m == nil)
	}
}

// received is a message for one life: what was sealed for a former one is not
// for the next.
type received struct {
	life uint64
	ev   ring.Received
}

// verdict carries a reference of the transport: machine's life and Ref.
type verdict struct {
	ref uint64
	ok  bool
}

// lifeBits of a transport reference tell machines of one process apart.
const lifeShift = 44

// Run is the loop. It returns when ctx ends or the node has left the ring; then
// nothing of it runs any more.
func (n *Node) Run(ctx context.Context) error {
	defer n.close()
	n.startWriter()
	n.tr.SetMe(n.Self())
	n.step(ring.Start{})
	n.mail.leave(n.m == nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.left:
			return nil
		case <-n.mail.sig:
		}
		items, ok := n.mail.take()
		if !ok {
			continue
		}
		n.turn(items)
		err := n.again()
		n.mail.leave(n.m == nil)
		if err != nil {
			return err
		}
	}
}

// turn handles a batch; the caller has the turn.
func (n *Node) turn(items []any) {
	// Messages first: a late timer must not accuse what has answered.
	for _, item := range items {
		n.handle(item)
	}
	n.step(ring.Timer{})
}

func (n *Node) handle(item any) {
	switch item := item.(type) {
	case func():
		item()
	case verdict:
		if item.ref>>lifeShift == n.life.Load() {
			n.meter.verdict(item.ref, item.ok)
			n.step(ring.SendDone{Ref: item.ref & (1<<lifeShift - 1), OK: item.ok})
		}
	case received:
		if item.life == n.life.Load() {
			n.step(item.ev)
		}
	case savedBy:
		if item.w == n.writer {
			n.step(ring.Saved{Ref: item.ref})
		}
	case ring.Propose:
		if n.m == nil {
			n.resolve(ring.Resolution{N: item.N, Err: ring.ErrNotPrimary})
		}
		n.step(item)
	case ring.Event:
		n.step(item)
	default:
		panic(fmt.Sprintf("host: %T in the mailbox", item))
	}
}

// step gives the machine one event and does what it says.
func (n *Node) step(ev ring.Event) {
	if n.m == nil {
		return // at its end; again() makes a new one
	}
	now := clock.Now()
	n.apply(now, n.m.Step(now, ev))
}

// again begins a new life if the last one ended with Restart.
func (n *Node) again() error {
	if n.m != nil || n.gone {
		return nil
	}
	n.stopWriter()
	n.fetched.drop()
	if err := n.begin(); err != nil {
		return fmt.Errorf("host: starting the ring anew: %w", err)
	}
	n.startWriter()
	n.tr.SetMe(n.Self())
	n.step(ring.Start{})
	if n.row != nil {
		n.step(ring.SetRow{Data: n.row})
	}
	return nil
}

// close ends what belongs to the loop.
func (n *Node) close() {
	n.mail.close()
	n.setLease(0)
	n.member.Store(false)
	close(n.done)
	n.stopWriter()
	n.fetched.wait()
	n.asking.Wait()
	n.waker.Close()
	if err := n.disk.Close(); err != nil {
		n.log.Warn("closing the data folder", slog.Any("err", err))
	}
}

// do runs f in the loop and waits for it; false: the node is stopping.
func (n *Node) do(ctx context.Context, f func()) bool {
	ran := make(chan struct{})
	n.mail.put(func() { f(); close(ran) })
	select {
	case <-ran:
		return true
	case <-n.done:
	case <-ctx.Done():
	}
	return false
}
