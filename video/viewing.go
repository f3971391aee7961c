package video

import (
	"context"
	"net/netip"
	"strings"

	"rain/snow/httpfile"
	"rain/video/film"
	"rain/video/session"
)

// Viewers hears who watches what and how far. It must not block.
type Viewers interface {
	// Watch takes in a request; what is sent for it is told to Sent with the
	// number that comes back.
	Watch(h session.Hit) (seeks uint32)
	Sent(id session.ID, seeks, positionMS uint32, bytes int64)
}

const (
	// sessionArg carries a session's ID in addresses: a player that follows a
	// playlist keeps it, whichever node it asks, and needs no cookies.
	sessionArg = "s"
	// sessionCookie carries it for film.mp4, which has no playlist.
	sessionCookie = "rain_session"
	// readSlackMS is how far a reader of one file may go back and be no seek.
	readSlackMS = 10_000
	anySlackMS  = 1<<32 - 1
)

// asked is the session that the address names.
func (r reply) asked() (id session.ID, ok bool) {
	return session.ParseID(r.QueryArgs().Peek(sessionArg))
}

// session is the session of a playlist's reader. One without gets a new one, and
// then the answer is for nobody else.
func (r reply) session() session.ID {
	id, ok := r.asked()
	if !ok {
		id = session.MakeID(r.s.deps.NewID())
		r.Response.Header.Set("Cache-Control", "no-store")
	}
	return id
}

// anonymous is the session of who came without a playlist's address: by cookie,
// else by the connection.
func (r reply) anonymous(tag string) (id session.ID, known bool) {
	if id, ok := r.asked(); ok {
		return id, true
	}
	if id, ok := session.ParseID(r.Request.Header.Cookie(sessionCookie)); ok {
		return id, true
	}
	return session.MakeID("connection " + r.RemoteAddr().String() + " " + tag), false
}

func (r reply) client() netip.Addr {
	a, _ := netip.AddrFromSlice(r.RemoteIP())
	return a.Unmap()
}

// watched is a body whose way to the viewer is told of.
type watched struct {
	httpfile.Body
	sent func(off, n int64)
}

func (w watched) Sent(off, n int64) { w.sent(off, n) }

// watchSegment follows a segment on its way.
func (r reply) watchSegment(name string, x *film.Index, n int, body httpfile.Body) httpfile.Body {
	v := r.s.deps.Viewers
	if v == nil || !r.IsGet() {
		return body
	}
	id, _ := r.anonymous(x.Tag())
	at := startMS(x, n)
	// A player asks again for a segment that failed, and may ask for two at once:
	// one behind the newest is no seek.
	h := session.Hit{ID: id, Film: name, Rendition: "hls", Client: r.client(), Position: at, Slack: startMS(x, n+1) - at + 1}
	seeks := v.Watch(h)
	return watched{body, func(_, n int64) { v.Sent(id, seeks, at, n) }}
}

// startMS is when segment n begins, from the film's beginning.
func startMS(x *film.Index, n int) uint32 {
	if n <= 0 {
		return 0
	}
	return uint32(min((x.Starts[n]-x.Starts[0])*1000/int64(x.Video.Timescale), anySlackMS))
}

// watchFile follows film.mp4 on its way. Where a byte is in time is known only
// about: as its share of the file.
func (r reply) watchFile(name string, x *film.Index) func(httpfile.Body) httpfile.Body {
	v := r.s.deps.Viewers
	if v == nil || !r.IsGet() {
		return func(b httpfile.Body) httpfile.Body { return b }
	}
	id, known := r.anonymous(x.Tag())
	if !known {
		r.Response.Header.Set("Cache-Control", "private, no-cache")
		r.Response.Header.Set("Set-Cookie", sessionCookie+"="+id.String()+"; Path="+Prefix+"/"+name+"/; HttpOnly; SameSite=Lax")
	}
	h := session.Hit{ID: id, Film: name, Rendition: "mp4", Client: r.client(), Slack: readSlackMS}
	begun, seeks := false, uint32(0)
	return func(b httpfile.Body) httpfile.Body {
		return watched{b, func(off, n int64) { // by one goroutine
			at := byteMS(x, off+n)
			if !begun {
				begun, h.Position = true, at
				seeks = v.Watch(h)
			}
			v.Sent(id, seeks, at, n)
		}}
	}
}

func byteMS(x *film.Index, off int64) uint32 {
	share := float64(max(0, off)) / float64(max(1, x.Size))
	return uint32(min(share, 1) * float64(min(max(0, x.DurationMS), anySlackMS)))
}

// Read tells of bytes of a film that were read as an object of the store, by a
// player that knows the film's key and names its session.
func (s *Server) Read(ctx context.Context, id session.ID, key string, off, n int64, client netip.Addr) {
	name, _, _ := strings.Cut(key, "/")
	e, err := s.find(ctx, name)
	if err != nil || e.Key != key || s.deps.Viewers == nil {
		return // not a film, or replaced meanwhile: nobody is watching it
	}
	at := byteMS(e.Index, off)
	seeks := s.deps.Viewers.Watch(session.Hit{ID: id, Film: name, Rendition: "play", Client: client, Position: at, Slack: anySlackMS})
	s.deps.Viewers.Sent(id, seeks, byteMS(e.Index, off+n), n)
}
