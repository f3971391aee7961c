package node

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/snow/admin"
	"rain/video"
	"rain/video/session"
)

// streams is who watches what, cluster-wide: the sessions on the token, and what
// this node has to tell of them.
type streams struct {
	n       *node
	rider   *session.Rider
	tracker *session.Tracker

	mu   sync.Mutex
	bits map[session.ID]float64 // a second, as of the last beat
	sum  float64
}

const (
	// streamBeat is how often a node tells of its streams: one op each time.
	streamBeat = time.Second
	// streamPatience bounds the wait for an op; then it is proposed again.
	streamPatience = 5 * time.Second
	// maxStreams bounds the streams that a status lists, the newest of them.
	maxStreams = 1000
)

// newStreams makes the rider; the tracker asks the ring, once there is one, who
// this node is.
func newStreams(n *node) (*streams, error) {
	s := &streams{n: n, rider: session.NewRider()}
	var err error
	s.tracker, err = session.NewTracker(session.DefaultConfig(), s.rider, func() ring.Member { return n.host.Self() })
	return s, err
}

// Watch and Sent hear of requests; see video.Viewers.
func (s *streams) Watch(h session.Hit) uint32 { return s.tracker.Watch(s.n.host.Now(), h) }

func (s *streams) Sent(id session.ID, seeks, position uint32, bytes int64) {
	s.tracker.Sent(s.n.host.Now(), id, seeks, position, bytes)
}

var _ video.Viewers = (*streams)(nil)

// viewed hears of films that are read part by part at the admin address.
func (s *streams) viewed(who []byte, bucket, key string, off, n int64, client netip.Addr) {
	id, ok := session.ParseID(who)
	if !ok || bucket != video.Bucket {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), streamBeat)
	defer cancel()
	s.n.video.Read(ctx, id, key, off, n, client)
}

// run tells the others once a second, until ctx ends.
func (s *streams) run(ctx context.Context) error {
	var rates session.Rates
	return every(ctx, streamBeat, func() {
		now := s.n.host.Now()
		bits, sum := rates.Sample(now, s.rider.Entries()), 0.0
		for _, b := range bits {
			sum += b
		}
		s.mu.Lock()
		s.bits, s.sum = bits, sum
		s.mu.Unlock()
		if s.n.host.Member() {
			s.tell(ctx, now)
		}
	})
}

// tell proposes what there is to tell. What fails is proposed again, as it is:
// the rider applies it once.
func (s *streams) tell(ctx context.Context, now ring.Instant) {
	op := s.tracker.Tick(now, time.Now())
	if op == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	answer, err := s.n.host.Propose(ctx, ring.RiderStreams, op, host.Opt{})
	switch {
	case err == nil && len(answer) == 0:
		s.tracker.Done()
	case errors.Is(err, ring.ErrOpTooLarge): // a bug; kept, it would stop all that follow
		s.tracker.Done()
		s.n.log.Error("a report of streams is too large and was dropped", slog.Any("err", err))
	default:
		s.n.log.Debug("a report of streams has to wait", slog.String("answer", string(answer)), slog.Any("err", err))
	}
}

// list is what the status shows.
func (s *streams) list() []admin.Stream {
	entries := s.rider.Entries()
	slices.SortFunc(entries, session.BySince)
	if n := len(entries) - maxStreams; n > 0 {
		entries = entries[n:]
	}
	s.mu.Lock()
	bits := s.bits // never written to again
	s.mu.Unlock()
	out := make([]admin.Stream, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		st := admin.Stream{
			Session: e.ID.String(), Film: e.Film, Rendition: e.Rendition, Node: s.n.known.name(e.Owner.ID),
			PositionS: float64(e.Position) / 1000, SentBytes: int64(e.Bytes), BitsPerS: int64(bits[e.ID]),
			Moves: int(e.Moves), Seeks: int(e.Seeks), Since: time.UnixMilli(int64(e.Since)).UTC(),
		}
		if e.Client.IsValid() {
			st.Client = e.Client.String()
		}
		out = append(out, st)
	}
	return out
}

func (s *streams) metrics(p page) {
	t := s.rider.Totals()
	s.mu.Lock()
	sum := s.sum
	s.mu.Unlock()
	p.one("rain_streams", "gauge", "Films being watched now, on all nodes.", float64(s.rider.Len()))
	p.one("rain_streams_bits_per_second", "gauge", "What all nodes send to viewers, over the last 5 to 10 s.", sum)
	p.one("rain_streams_sent_bytes_total", "counter", "Bytes of films sent by all nodes since the cluster's founding.", float64(t.Bytes))
	p.one("rain_streams_begun_total", "counter", "Streams begun on all nodes since the cluster's founding.", float64(t.Begun))
	p.one("rain_streams_taken_total", "counter", "Streams that went on at another node because theirs left the ring.", float64(t.Taken))
	p.one("rain_streams_dropped_total", "counter", "Streams that were served and not counted: there were too many.", float64(t.Dropped)+float64(s.tracker.Lost()))
}
