package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// LiveSource is what the live stream needs beside StatusSource.
type LiveSource interface {
	// Changed is closed at the next change of the view or of an address. What
	// else changes is found by looking, LiveTick apart.
	Changed() <-chan struct{}
	Beat() Beat
}

// Beat is what changes all the time. Rates are the reader's to make: by the
// difference of two totals, and of their times.
type Beat struct {
	Time          time.Time `json:"time"` // the node's wall clock
	Node          string    `json:"node"`
	Seq           uint64    `json:"seq"`
	LeaseLeftMS   int64     `json:"lease_left_ms"`
	RotationsPS   float64   `json:"rotations_per_s"`
	HopP50US      int64     `json:"hop_p50_us"`
	HopP99US      int64     `json:"hop_p99_us"`
	RequestsTotal uint64    `json:"requests_total"`   // answered by this node
	RequestMS     float64   `json:"request_ms_total"` // how long they took, all together
}

// Hello is the first event of a live stream.
type Hello struct {
	API     int       `json:"api"`
	Node    string    `json:"node"`
	Life    string    `json:"life"` // another one: the node was started anew, and event ids begin at 1
	Version string    `json:"version,omitempty"`
	Faults  bool      `json:"faults"`            // this node obeys POST /api/v1/fault
	Control string    `json:"control,omitempty"` // of the demo that runs this node
	Time    time.Time `json:"time"`
}

// Limits of the live streams of one node.
const (
	LiveClients = 64
	LiveTick    = 100 * time.Millisecond // least time between two looks, and so between two status events
	LiveEntries = 200                    // of the queue, and of the streams, in an event
	beatEvery   = time.Second
	liveWrite   = 5 * time.Second // a client that takes nothing for so long is dropped
	// A look may take one part in lookShare of the time: with a long queue there
	// are fewer, but not so few that a death is told late.
	lookShare = 50
	lookRest  = 250 * time.Millisecond
)

// hub looks at the node while somebody listens, and keeps what it saw, encoded
// once for all clients. A client takes what is newer than what it had, so a
// slow one gets fewer and newer states and costs no memory.
type hub struct {
	src   StatusSource
	live  LiveSource
	hello Hello
	log   *slog.Logger

	wg     sync.WaitGroup // the looking goroutine and the clients
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	clients map[*liveClient]struct{}
	stop    context.CancelFunc // of the looking goroutine; nil: it does not run
	parts   [numParts]part
	prev    Status
	seen    bool   // prev and parts hold something
	newest  uint64 // id of the newest event that was seen
	beat    []byte
	beats   uint64
}

func newHub(src StatusSource, live LiveSource, hello Hello, log *slog.Logger) *hub {
	h := &hub{src: src, live: live, hello: hello, log: log, clients: map[*liveClient]struct{}{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

var (
	errManyLive = errors.New("admin: all live streams are taken")
	errLiveEnds = errors.New("admin: the node is stopping")
)

// greeting is the hello of a stream that begins now.
func (h *hub) greeting() Hello {
	hello := h.hello
	hello.Time = time.Now().UTC()
	return hello
}

// reserve takes a place for a client. Without a later serve it must be given
// back by leave.
func (h *hub) reserve(wanted []bool, after uint64) (*liveClient, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errLiveEnds
	case len(h.clients) >= LiveClients:
		return nil, fmt.Errorf("%w: %d clients", errManyLive, LiveClients)
	}
	c := &liveClient{hub: h, wanted: wanted, after: after, poke: make(chan struct{}, 1)}
	h.clients[c] = struct{}{}
	h.wg.Add(1)
	if h.stop == nil {
		ctx, stop := context.WithCancel(h.ctx)
		h.stop = stop
		h.wg.Go(func() { h.look(ctx) })
	}
	c.wake()
	return c, nil
}

// leave ends a client; the last one ends the looking.
func (h *hub) leave(c *liveClient) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.clients[c]; !ok {
		return
	}
	delete(h.clients, c)
	h.wg.Done()
	if len(h.clients) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
		h.seen = false
	}
}

// close ends all clients and waits for them.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
}

// look runs while there are clients.
func (h *hub) look(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	rest := func(d time.Duration, changed <-chan struct{}) bool {
		timer.Reset(d)
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		case <-timer.C:
		}
		return true
	}
	var beaten time.Time
	for {
		changed := h.live.Changed() // before the look: what comes during it counts
		from := time.Now()
		due := from.Sub(beaten) >= beatEvery-LiveTick/2
		moved := h.refresh(ctx, due)
		if due {
			beaten = from
			h.rebeat(ctx)
			moved = true
		}
		if moved {
			h.wakeAll()
		}
		took := time.Since(from)
		if !rest(LiveTick, nil) {
			return
		}
		// A quiet node is looked at half as often, a slow one as often as it can
		// bear; unless it calls.
		more := min(lookRest, lookShare*took) - LiveTick
		if !moved {
			more = max(more, LiveTick)
		}
		if more > 0 && !rest(more, changed) {
			return
		}
	}
}

// refresh looks at the node and reports whether there is something to tell. With
// beat, what only drifts counts, too.
func (h *hub) refresh(ctx context.Context, beat bool) bool {
	st := h.src.Status()
	st.fill()
	if len(st.Queue.Entries) > LiveEntries {
		st.Queue.Entries = st.Queue.Entries[:LiveEntries]
	}
	if len(st.Streams) > LiveEntries {
		st.Streams = st.Streams[:LiveEntries]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	moved := false
	if events := h.src.Events(h.newest); len(events) > 0 {
		h.newest = events[len(events)-1].ID
		moved = true
	}
	for i := range h.parts {
		p := &h.parts[i]
		if r := &partTable[i]; h.seen && r.same(&h.prev, &st) && (!beat || r.drifts == nil || !r.drifts(&p.told, &st)) {
			continue
		}
		b, err := encodeNamed(partTable[i].name, partTable[i].of(&st))
		if err != nil {
			h.log.Error("a part of the status cannot be encoded", slog.String("part", partTable[i].name), slog.Any("err", err))
			continue
		}
		p.json, p.told = b, Status{Links: st.Links}
		p.version++
		moved = true
	}
	h.prev, h.seen = st, true
	return moved
}

func (h *hub) rebeat(ctx context.Context) {
	b, err := encodePart(h.live.Beat())
	if err != nil {
		h.log.Error("a beat cannot be encoded", slog.Any("err", err))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() == nil {
		h.beat = b
		h.beats++
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		c.wake()
	}
}

// liveClient is one open stream. Its fields below hub belong to the goroutine
// that runs serve, but for poke.
type liveClient struct {
	hub    *hub
	wanted []bool // by part; nil: all
	poke   chan struct{}
	after  uint64
	had    [numParts]uint64
	beats  uint64
	buf    []byte
}

func (c *liveClient) wake() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// serve writes events to conn until the client or the hub ends, or the client
// is too slow. head is written first.
func (c *liveClient) serve(conn net.Conn, head []byte) {
	defer c.hub.leave(c)
	ctx, cancel := context.WithCancel(c.hub.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { // unblocks whoever reads or writes
		<-ctx.Done()
		conn.Close()
	})
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	wg.Go(func() {
		defer cancel()
		var p [256]byte
		for { // a client has nothing more to say; its end is what counts
			if _, err := conn.Read(p[:]); err != nil {
				return
			}
		}
	})
	c.buf = append(c.buf, head...)
	for {
		c.compose()
		if len(c.buf) > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
				return
			}
			if _, err := conn.Write(c.buf); err != nil {
				c.hub.log.Debug("a live stream ended", slog.String("client", conn.RemoteAddr().String()), slog.Any("err", err))
				return
			}
			if c.buf = c.buf[:0]; cap(c.buf) > 1<<20 {
				c.buf = nil
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.poke:
		}
	}
}

// compose appends what is new to buf.
func (c *liveClient) compose() {
	h := c.hub
	events := h.src.Events(c.after)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.seen {
		return
	}
	b, first := c.buf, true
	for i := range h.parts {
		p := &h.parts[i]
		if c.had[i] == p.version || c.wanted != nil && !c.wanted[i] {
			continue
		}
		c.had[i] = p.version
		if first {
			b = append(b, "event: status\ndata: {\"api\":1"...)
			first = false
		}
		b = append(b, ',')
		b = append(b, p.json...)
	}
	if !first {
		b = append(b, "}\n\n"...)
	}
	for i := range events {
		e, err := encodePart(events[i])
		if err != nil {
			h.log.Error("an event cannot be encoded", slog.Uint64("id", events[i].ID), slog.Any("err", err))
			continue
		}
		b = fmt.Appendf(b, "event: event\nid: %s.%d\ndata: %s\n\n", h.hello.Life, events[i].ID, e)
		c.after = events[i].ID
	}
	if c.beats != h.beats {
		c.beats = h.beats
		b = fmt.Appendf(b, "event: beat\ndata: %s\n\n", h.beat)
	}
	c.buf = b
}

// wantedParts reads "?parts=ring,members"; nil means all.
func wantedParts(list string) ([]bool, error) {
	if list == "" {
		return nil, nil
	}
	out := make([]bool, numParts)
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(partTable[:], func(p partRule) bool { return p.name == name })
		if i < 0 {
			return nil, fail(422, "bad_input", fmt.Sprintf("parts: there is no part %q of the status", name), "the parts are "+partNames())
		}
		out[i] = true
	}
	return out, nil
}
