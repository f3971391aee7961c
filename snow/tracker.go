package snow

import (
	"bytes"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/queue"
)

// slotsPerPage is how many slots are made at once: 16 KiB.
const slotsPerPage = 256

// The low bits of slot.state; above them is the request's number in the slot.
const (
	slotRunning   = 1 << iota // a request runs
	slotLocked                // one side reads or writes the details
	slotResponded             // the details tell of the response
	slotNumber    = iota
)

// slot is where a connection tells the sweeper of the request that it serves. A
// short request costs it a few atomic writes to its own cache line: no lock is
// waited for, nothing is allocated.
//
// The connection's goroutine writes the details while no request runs, or under
// the lock; the sweeper reads them under the lock. Both take it by compare and
// swap and hold it for some copying only.
type slot struct {
	state   atomic.Uint64
	began   atomic.Int64 // nanoseconds since the tracker's start
	sent    atomic.Int64 // bytes of the response handed to the kernel
	details *details
	_       [32]byte // a cache line each
}

type slotPage [slotsPerPage]slot

// details are what the queue's entry says; see queue.Request.
type details struct {
	client             netip.AddrPort
	method, host, path []byte
	rangeHeader, head  []byte
	object             queue.Sum
}

// request copies the details, cut to what an entry holds.
func (d *details) request() queue.Request {
	return queue.Request{
		Client: d.client, Method: cut(d.method, queue.MaxMethod), Host: cut(d.host, queue.MaxHost),
		Path: cut(d.path, queue.MaxPath), Range: cut(d.rangeHeader, queue.MaxRange),
		Object: d.object, Head: append([]byte(nil), d.head...),
	}
}

func cut(b []byte, n int) string { return string(b[:min(len(b), n)]) }

// slots are all slots of a server. A connection takes one when it comes and gives
// it back when its goroutine is done with it.
type slots struct {
	start time.Time
	pages []atomic.Pointer[slotPage]
	top   atomic.Int64 // slots that were ever taken

	rests  atomic.Bool   // the sweeper saw nothing and sleeps until roused
	roused chan struct{} // a request began while it slept

	mu   sync.Mutex
	free []int
}

func newSlots(limit int) *slots {
	return &slots{
		start: time.Now(), pages: make([]atomic.Pointer[slotPage], (limit+slotsPerPage-1)/slotsPerPage),
		roused: make(chan struct{}, 1),
	}
}

// rest lets the sweeper sleep; false: a request runs. Whoever begins one after
// that rouses it.
func (s *slots) rest() bool {
	s.rests.Store(true)
	for i := range int(s.top.Load()) {
		if _, running := s.at(i).look(); running {
			s.rests.Store(false)
			return false
		}
	}
	return true
}

// rouse is called after a request has begun.
func (s *slots) rouse() {
	if s.rests.Load() && s.rests.CompareAndSwap(true, false) {
		select {
		case s.roused <- struct{}{}:
		default:
		}
	}
}

func (s *slots) at(i int) *slot { return &s.pages[i/slotsPerPage].Load()[i%slotsPerPage] }

// take returns a slot's number, or false: there are no more.
func (s *slots) take() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, true
	}
	i := int(s.top.Load())
	if i >= len(s.pages)*slotsPerPage {
		return 0, false
	}
	if s.pages[i/slotsPerPage].Load() == nil {
		s.pages[i/slotsPerPage].Store(new(slotPage))
	}
	s.top.Store(int64(i + 1))
	return i, true
}

func (s *slots) give(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, i)
}

// tracked is a connection's side of its slot. It belongs to the goroutine that
// serves the connection.
type tracked struct {
	slots   *slots // nil: requests are not tracked
	index   int
	slot    *slot
	running bool // a request was begun in the slot
	read    bool // the connection was read from since the last request began
	first   bool // nothing of an earlier response can be in front of this one's
	capture bool // the next write begins with the response's head
	number  uint64
	object  queue.Sum // of the response that is being made
	details details
}

// open takes a slot for a new connection.
func (t *tracked) open(s *slots, client netip.AddrPort) {
	i, ok := s.take()
	if !ok {
		return
	}
	t.slots, t.index, t.slot = s, i, s.at(i)
	t.number = t.slot.state.Load() >> slotNumber
	t.details.client = client
	t.slot.details = &t.details
}

// close gives the slot back.
func (t *tracked) close() {
	if t.slots == nil {
		return
	}
	t.end()
	t.slots.give(t.index)
	t.slots, t.slot = nil, nil
}

// begin tells that a request is being answered since at. Only GETs are tracked:
// what others change is package effect's.
func (t *tracked) begin(ctx *fasthttp.RequestCtx, at time.Time) {
	if t.slots == nil {
		return
	}
	t.end()
	h := &ctx.Request.Header
	if !h.IsGet() {
		return
	}
	d := &t.details
	d.method = append(d.method[:0], h.Method()...)
	d.host = append(d.host[:0], h.Host()...)
	d.path = append(d.path[:0], h.RequestURI()...)
	d.rangeHeader, d.head, d.object = d.rangeHeader[:0], d.head[:0], queue.Sum{}
	t.object = queue.Sum{}
	t.number++
	t.running = true
	t.first, t.read = t.read, false
	t.slot.sent.Store(0)
	t.slot.began.Store(int64(at.Sub(t.slots.start)))
	t.slot.state.Store(t.number<<slotNumber | slotRunning)
	t.slots.rouse()
}

// responds tells, when a handler is done, that its response may take long.
func (t *tracked) responds(ctx *fasthttp.RequestCtx) {
	if !t.running || !ctx.Response.IsBodyStream() {
		return
	}
	t.lock()
	d := &t.details
	d.rangeHeader = append(d.rangeHeader[:0], ctx.Request.Header.Peek("Range")...)
	d.object = t.object
	t.capture = t.first
	if t.first {
		t.unlock(0)
	} else {
		t.unlock(slotResponded)
	}
}

// reads comes before the connection is read: who waits for a request has answered
// the one before.
func (t *tracked) reads() {
	t.read = true
	t.end()
}

// heads looks at what is to be written: the first of it is the response's head. It
// is kept before a byte of it leaves.
func (t *tracked) heads(p []byte) {
	if !t.capture {
		return
	}
	t.capture = false
	t.lock()
	p = p[:min(len(p), queue.MaxHead)]
	if i := bytes.Index(p, []byte("\r\n\r\n")); i >= 0 { // else too long to be kept
		t.details.head = append(t.details.head[:0], p[:i+4]...)
	}
	t.unlock(slotResponded)
}

// sent counts bytes that the kernel took.
func (t *tracked) sent(n int64) {
	if t.running {
		t.slot.sent.Add(n)
	}
}

// end tells that the request is over: its response was written, or lost.
func (t *tracked) end() {
	if !t.running {
		return
	}
	t.lock()
	t.running, t.capture = false, false
	t.slot.state.Store(t.number << slotNumber)
}

// lock waits for the sweeper, which copies a few hundred bytes at most.
func (t *tracked) lock() {
	for {
		st := t.slot.state.Load()
		if st&slotLocked == 0 && t.slot.state.CompareAndSwap(st, st|slotLocked) {
			return
		}
		runtime.Gosched()
	}
}

func (t *tracked) unlock(set uint64) {
	t.slot.state.Store(t.slot.state.Load()&^uint64(slotLocked) | set)
}

// Pin tells which stored object a handler answers with, by its SHA-256: the
// request's entry on the queue names it then. For mounted handlers.
func Pin(ctx *fasthttp.RequestCtx, sum [32]byte) {
	if c, ok := ctx.Conn().(*conn); ok {
		c.tracked.object = sum
	}
}

// glimpse is what the sweeper sees of a request.
type glimpse struct {
	number    uint64 // in its slot
	began     int64
	sent      int64
	responded bool
}

// look reports what runs in the slot, without waiting.
func (s *slot) look() (g glimpse, running bool) {
	st := s.state.Load()
	if st&slotRunning == 0 {
		return glimpse{}, false
	}
	return glimpse{number: st >> slotNumber, began: s.began.Load(), sent: s.sent.Load(), responded: st&slotResponded != 0}, true
}

// read copies the details of the request with that number; false: it is over, or
// its goroutine writes them now.
func (s *slot) read(number uint64) (q queue.Request, responded, ok bool) {
	st := s.state.Load()
	if st>>slotNumber != number || st&slotRunning == 0 || st&slotLocked != 0 || !s.state.CompareAndSwap(st, st|slotLocked) {
		return q, false, false
	}
	q = s.details.request()
	s.state.Store(st)
	return q, st&slotResponded != 0, true
}
