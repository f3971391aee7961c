package node

import (
	"context"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/snow"
	"rain/snow/admin"
	"rain/snow/queue"
)

// newRequests makes the queue of requests. Effects change the catalog in the same
// step in which their outcome is recorded.
func newRequests(catalog ring.Rider) *queue.Rider {
	return queue.NewRider(map[ring.RiderID]queue.Applier{ring.RiderCatalog: catalog})
}

// requestQueue is the queue as the web server wants it.
type requestQueue struct{ n *node }

func (q requestQueue) Self() ring.Member        { return q.n.host.Self() }
func (q requestQueue) Now() ring.Instant        { return q.n.host.Now() }
func (q requestQueue) LeaseUntil() ring.Instant { return q.n.host.LeaseUntil() }
func (q requestQueue) Table() *queue.Table      { return q.n.requests.Table() }

// Propose waits for no disk: after a cold start nobody can go on with a stream.
func (q requestQueue) Propose(ctx context.Context, op []byte) ([]byte, error) {
	return q.n.host.Propose(ctx, ring.RiderQueue, op, host.Opt{})
}

// webQueue is nil if the file switches the queue of streams off.
func (n *node) webQueue() snow.Queue {
	if !n.file.Web.Queue {
		return nil
	}
	return requestQueue{n}
}

// maxQueueEntries bounds the entries that a status lists.
const maxQueueEntries = 200

// queueStatus is the queue for people: what runs, and what was orphaned last.
func (n *node) queueStatus() admin.Queue {
	t := n.requests.Table()
	out := admin.Queue{
		Length: t.Length(), Claimed: t.Claimed, Orphaned: t.Orphaned, Replayed: t.Replayed,
		Entries: []admin.QueueEntry{},
	}
	add := func(e *queue.Entry) bool {
		out.Entries = append(out.Entries, admin.QueueEntry{
			ID: e.ID.String(), Client: e.Client.String(), Method: e.Method, Host: e.Host, Path: e.Path,
			Node: n.known.name(e.Owner.ID), Offset: int64(e.Offset), State: e.State.String(), Since: time.UnixMilli(int64(e.SinceMS)).UTC(),
		})
		return len(out.Entries) < maxQueueEntries
	}
	t.Running(add)
	for _, e := range t.Recent() {
		if !add(e) {
			break
		}
	}
	return out
}

func (n *node) queueMetrics(p page) {
	t := n.requests.Table()
	p.one("rain_queue_length", "gauge", "Requests on the queue: streams, and effects without an outcome.", float64(t.Length()))
	p.one("rain_queue_effects", "gauge", "Effects on the queue, also those that ended and are kept for repeats.", float64(t.Effects()))
	p.one("rain_queue_begun_total", "counter", "Requests that came onto the queue, of all nodes, since the cluster's founding.", float64(t.Begun))
	p.one("rain_queue_claimed_total", "counter", "Changes of a request's owner after the old one left.", float64(t.Claimed))
	p.one("rain_queue_orphaned_total", "counter", "Claimed streams that nobody went on with.", float64(t.Orphaned))
	p.one("rain_queue_replayed_total", "counter", "Repeats that got a recorded outcome.", float64(t.Replayed))
	p.one("rain_queue_dropped_total", "counter", "Streams that found no room on the queue; the requests went on.", float64(t.Dropped))
	p.one("rain_queue_refused_total", "counter", "Effects that found no room on the queue; the requests were refused.", float64(t.Refused))
}
