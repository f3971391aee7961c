package guard

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Open makes the guard ready to hold addresses: it opens its sockets now, which
// takes time that a fail-over must not take. Without the capabilities
// CAP_NET_ADMIN and CAP_NET_RAW its error is unix.EPERM.
func (g *Guard) Open(ctx context.Context) error {
	return g.ask(ctx, msgOpen, "open the guard's sockets", nil, nil)
}

// Hold puts an address on its interface and announces it, for as long as the
// lease runs. The id names it in Drop, Announce and OnEnded; it is never used
// again. After an error that is not ErrLeaseOver or ErrGone the address may be
// there nevertheless, until the lease ends: close the Guard if that matters.
func (g *Guard) Hold(ctx context.Context, a Address) (id uint32, err error) {
	body := binary.BigEndian.AppendUint32(nil, uint32(a.Interface))
	s := a.Prefix.Addr().AsSlice()
	body = append(append(body, byte(a.Prefix.Bits()), byte(len(s))), s...)
	body = append(body, byte(len(a.Frames)))
	if len(a.Frames) > MaxFrames {
		return 0, fmt.Errorf("vip guard: hold %s: %d frames, at most %d", a.Prefix, len(a.Frames), MaxFrames)
	}
	for _, f := range a.Frames {
		if len(f) > MaxFrame {
			return 0, fmt.Errorf("vip guard: hold %s: a frame of %d bytes, at most %d", a.Prefix, len(f), MaxFrame)
		}
		body = append(append(body, byte(len(f))), f...)
	}
	err = g.ask(ctx, msgHold, "hold "+a.Prefix.String(), body, &id)
	return id, err
}

// Drop takes a held address off its interface. When it returns nil this machine
// has it no more; it is nil, too, if the lease had ended it before.
func (g *Guard) Drop(ctx context.Context, id uint32) error {
	return g.ask(ctx, msgDrop, "drop an address", binary.BigEndian.AppendUint32(nil, id), nil)
}

// Announce makes the guard announce a held address anew. It does not wait.
func (g *Guard) Announce(id uint32) error {
	return g.write(binary.BigEndian.AppendUint32([]byte{msgAnnounce}, id), nil)
}

func (g *Guard) ask(ctx context.Context, kind byte, what string, body []byte, got *uint32) error {
	id, answer := g.expect()
	defer g.forget(id)
	if err := g.write(append(binary.BigEndian.AppendUint32([]byte{kind}, id), body...), nil); err != nil {
		return err
	}
	if got != nil {
		*got = id
	}
	return g.await(ctx, what, answer)
}
