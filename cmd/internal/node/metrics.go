package node

import (
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"rain/cmd/internal/cli"
	"rain/ring/host"
)

// metricSet counts what the web server tells.
type metricSet struct {
	requests sync.Map // requestKey -> *atomic.Uint64
	buckets  [len(requestBuckets) + 1]atomic.Uint64
	sumNanos atomic.Int64
}

type requestKey struct {
	method string
	code   int
}

// requestBuckets are upper bounds in seconds.
var requestBuckets = [...]float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}

func newMetrics() *metricSet { return &metricSet{} }

// Request counts one request; no lock after the first of its kind.
func (m *metricSet) Request(method string, code int, took time.Duration) {
	key := requestKey{method, code}
	c, ok := m.requests.Load(key)
	if !ok {
		c, _ = m.requests.LoadOrStore(key, new(atomic.Uint64))
	}
	c.(*atomic.Uint64).Add(1)
	m.sumNanos.Add(int64(took))
	i := 0
	for i < len(requestBuckets) && took.Seconds() > requestBuckets[i] {
		i++
	}
	m.buckets[i].Add(1)
}

// page writes Prometheus text.
type page struct{ w io.Writer }

func (p page) head(name, kind, help string) {
	fmt.Fprintf(p.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p page) one(name, kind, help string, value float64) {
	p.head(name, kind, help)
	p.value(name, "", value)
}

func (p page) value(name, labels string, value float64) {
	fmt.Fprintf(p.w, "%s%s %s\n", name, labels, strconv.FormatFloat(value, 'g', -1, 64))
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (n *node) writeMetrics(w io.Writer) {
	p := page{w}
	version := cli.BuildVersion("rain").Version
	goVersion := ""
	if bi, ok := debug.ReadBuildInfo(); ok {
		goVersion = bi.GoVersion
	}
	p.head("rain_build_info", "gauge", "Version of the program; always 1.")
	p.value("rain_build_info", fmt.Sprintf("{version=%q,goversion=%q}", version, goVersion), 1)
	n.ringMetrics(p)
	n.transportMetrics(p)
	n.vipMetrics(p)
	n.requestMetrics(p)
	n.streams.metrics(p)
	n.effects.metrics(p)
	n.queueMetrics(p)
	st := n.store.Status()
	p.one("rain_store_objects", "gauge", "Objects in the catalog.", float64(st.Objects))
	p.one("rain_store_missing_symbols", "gauge", "Bodies that this node should have and lacks.", float64(st.Missing))
	p.one("rain_store_checksum_failures_total", "counter", "Bodies found damaged on this node.", float64(st.ChecksumFailures))
	p.one("rain_store_repair_bytes_total", "counter", "Bytes fetched from other nodes to repair.", float64(st.RepairedBytes))
}

func (n *node) ringMetrics(p page) {
	m := n.host.Meter()
	v := n.host.View()
	p.one("rain_ring_primary", "gauge", "1 while this node's lease runs.", b2f(n.host.Primary()))
	p.one("rain_ring_members", "gauge", "Members of the newest view.", float64(len(v.Members)))
	p.one("rain_ring_view", "gauge", "Number of the newest view.", float64(v.Number))
	p.one("rain_ring_epoch", "gauge", "Epoch of the token (generation in the high half).", float64(n.epoch()))
	paced := n.pacer.Stats()
	p.one("rain_bulk_limit_bytes", "gauge", "What this node sends of big bytes a second at most, because the token is late; 0: all it can.", paced.Rate)
	p.one("rain_bulk_held_seconds_total", "counter", "By how much big bytes were held back for the token.", paced.Held.Seconds())
	p.one("rain_ring_rotations_total", "counter", "Tokens passed on by this node.", float64(m.Rotations))
	p.one("rain_ring_token_bytes_total", "counter", "Bytes of the tokens that this node passed on, before sealing.", float64(m.TokenBytes))
	p.one("rain_ring_regenerations_total", "counter", "Tokens made by this node after a loss.", float64(m.Regenerations))
	p.one("rain_ring_lease_lost_total", "counter", "Times that this node became isolated.", float64(m.LeaseLost))
	p.one("rain_ring_lease_lapsed_total", "counter", "Renewals of this node's lease that came after its end.", float64(m.LeaseLapsed))
	p.head("rain_ring_rotation_seconds", "histogram", "Time between two tokens that this node passed on.")
	total := uint64(0)
	for i, le := range host.RotationBounds {
		total += m.Rotation.Count[i]
		p.value("rain_ring_rotation_seconds_bucket", fmt.Sprintf("{le=%q}", strconv.FormatFloat(le.Seconds(), 'g', -1, 64)), float64(total))
	}
	total += m.Rotation.Count[len(host.RotationBounds)]
	p.value("rain_ring_rotation_seconds_bucket", `{le="+Inf"}`, float64(total))
	p.value("rain_ring_rotation_seconds_sum", "", m.Rotation.Sum.Seconds())
	p.value("rain_ring_rotation_seconds_count", "", float64(total))
	p.head("rain_ring_hop_seconds", "summary", "Half of the time until a passed token was acknowledged.")
	p.value("rain_ring_hop_seconds", `{quantile="0.5"}`, m.HopP50.Seconds())
	p.value("rain_ring_hop_seconds", `{quantile="0.99"}`, m.HopP99.Seconds())
	p.value("rain_ring_hop_seconds_sum", "", m.HopSum.Seconds())
	p.value("rain_ring_hop_seconds_count", "", float64(m.HopCount))
}

func (n *node) transportMetrics(p page) {
	st := n.tr.Stats()
	p.head("rain_link_up", "gauge", "1 while a path to the peer from this link answers.")
	up := map[string]bool{}
	var order []string
	for _, l := range st.Paths {
		labels := fmt.Sprintf("{peer=%q,link=%q}", n.known.name(l.Peer.ID), l.Link)
		if _, ok := up[labels]; !ok {
			order = append(order, labels)
		}
		up[labels] = up[labels] || l.Up
	}
	for _, labels := range order {
		p.value("rain_link_up", labels, b2f(up[labels]))
	}
	p.head("rain_link_relay_only", "gauge", "1 while the peer is reached by a neighbour only.")
	for _, r := range st.Relays {
		p.value("rain_link_relay_only", fmt.Sprintf("{peer=%q}", n.known.name(r.Peer)), b2f(r.Only))
	}
	p.head("rain_link_relayed_total", "counter", "Datagrams that this node passed on for others.")
	p.value("rain_link_relayed_total", "", float64(st.Carried))
	p.head("rain_datagrams_dropped_total", "counter", "Datagrams dropped without an answer, by reason.")
	for _, reason := range []string{"key", "replay", "malformed", "oversize", "unknown_peer", "stale_incarnation", "fault", "send_error", "no_relay"} {
		p.value("rain_datagrams_dropped_total", fmt.Sprintf("{reason=%q}", reason), float64(st.Dropped[reason]))
	}
}

func (n *node) vipMetrics(p page) {
	t := n.vips.Table()
	p.head("rain_vip_held", "gauge", "1 on the node that holds the address.")
	moves := 0.0
	for i := range t.Entries {
		e := &t.Entries[i]
		held := webCluster{n}.Holds(e.Addr()) && n.host.Primary()
		p.value("rain_vip_held", fmt.Sprintf("{vip=%q}", vipAddr(e.Addr(), n.file.Web.VIPPort)), b2f(held))
		moves += float64(e.Moves)
	}
	p.one("rain_vip_moves_total", "counter", "Moves of all addresses since the cluster's founding.", moves)
}

func vipAddr(a netip.Addr, port int) string { return netip.AddrPortFrom(a, uint16(port)).String() }

func (n *node) requestMetrics(p page) {
	p.head("rain_http_requests_total", "counter", "Requests answered by this node.")
	n.metrics.requests.Range(func(k, v any) bool {
		key := k.(requestKey)
		p.value("rain_http_requests_total", fmt.Sprintf("{method=%q,code=%q}", key.method, strconv.Itoa(key.code)), float64(v.(*atomic.Uint64).Load()))
		return true
	})
	p.head("rain_http_request_seconds", "histogram", "Time from a request's header to its answer.")
	total := uint64(0)
	for i, le := range requestBuckets {
		total += n.metrics.buckets[i].Load()
		p.value("rain_http_request_seconds_bucket", fmt.Sprintf("{le=%q}", strconv.FormatFloat(le, 'g', -1, 64)), float64(total))
	}
	total += n.metrics.buckets[len(requestBuckets)].Load()
	p.value("rain_http_request_seconds_bucket", `{le="+Inf"}`, float64(total))
	p.value("rain_http_request_seconds_sum", "", time.Duration(n.metrics.sumNanos.Load()).Seconds())
	p.value("rain_http_request_seconds_count", "", float64(total))
}
