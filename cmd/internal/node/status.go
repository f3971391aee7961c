package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/snow/admin"
	"rain/store"
	"rain/vip"
)

// statusTimeout bounds the wait for the ring's loop.
const statusTimeout = 2 * time.Second

func (n *node) ringStatus() host.Status {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	s, _ := n.host.Status(ctx) // a stopping node shows what it still knows
	return s
}

func (n *node) epoch() ring.Epoch { return n.ringStatus().Copy.Epoch }

// Status is what this node knows of itself and the cluster.
func (n *node) Status() admin.Status {
	rs := n.ringStatus()
	vips := n.manager.Status()
	st := n.store.Status()
	out := admin.Status{
		API: 1, Node: n.file.Node.Name, Cluster: n.file.Cluster.Name,
		Ring:    n.ringPart(rs),
		Members: n.members(rs),
		Links:   n.links(),
		VIPs:    []admin.VIP{},
		Queue:   n.queueStatus(),
		Streams: n.streams.list(),
		Store: admin.Store{
			Objects: st.Objects, StoredBytes: st.StoredBytes, MissingSymbols: st.Missing, RepairLeft: st.RepairLeftBytes,
			RepairETAS: int64(st.RepairETA.Seconds()), Disk: string(st.Disk),
		},
		Warnings: n.warnings(rs),
		Faults:   n.faultList(),
	}
	for _, v := range vips {
		out.VIPs = append(out.VIPs, admin.VIP{
			Addr: vipAddr(v.Addr, n.file.Web.VIPPort), Pool: v.Pool, Holder: n.known.name(v.Holder),
			Since: v.Since, Moves: v.Moves, Cause: v.Cause, GapMS: v.Gap.Milliseconds(),
		})
	}
	out.Tolerance = n.tolerance(rs)
	out.Health, out.Sentence = judge(out, rs, vips, st)
	return out
}

func (n *node) ringPart(rs host.Status) admin.Ring {
	r := admin.Ring{
		State: "joining", Primary: rs.Primary, Epoch: uint64(rs.Copy.Epoch), View: rs.View.Number, Seq: rs.Copy.Seq,
		LeaseLeftMS: rs.LeaseMS, RotationsPS: rs.Meter.RotationsPerS,
		HopP50US: rs.Meter.HopP50.Microseconds(), HopP99US: rs.Meter.HopP99.Microseconds(), Regeneration: rs.Meter.Regenerations,
	}
	r.Reason = n.reason(rs)
	r.MaxVersion = maxVersion
	r.Alone = n.alone.lease.Load() != 0
	r.Version, _ = n.spoken()
	r.Members = len(rs.View.Members)
	r.Distinguished = n.known.name(rs.View.Distinguished().ID)
	if i := len(rs.Views) - 1; n.file.Cluster.Policy == "witness" && i >= 0 && i < len(rs.Ties) {
		r.Distinguished = n.known.name(rs.Ties[i].ID) // "": the witness has named nobody
	}
	r.Settled = len(rs.Views) == 1 && rs.View.Number == rs.Settled
	switch {
	case rs.State == "member" && n.isolated():
		r.State = "isolated"
	case rs.State == "member":
		r.State = "member"
	}
	if len(rs.Views) > 0 {
		r.QuorumNeed = rs.Views[len(rs.Views)-1].View.Need()
	}
	return r
}

// members are those of the view, and the nodes that are known and not in it.
func (n *node) members(rs host.Status) []admin.Member {
	ids := n.known.ids()
	for _, m := range rs.View.Members {
		if !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	out := []admin.Member{}
	t := n.vips.Table()
	for _, id := range ids {
		m := admin.Member{Name: n.known.name(id), ID: id.String(), State: "down", Since: n.started.UTC(), Admin: n.known.admin(id)}
		if at, ok := rs.Since[id]; ok {
			m.Since = at
		}
		if vm, ok := rs.View.ByID(id); ok && rs.State == "member" {
			m.Incarnation, m.State, m.ViewSince = uint64(vm.Inc), "up", vm.Since
			if t.IsDraining(vm.Member) && !n.known.noVIP(id) {
				m.State = "draining"
			}
			if slices.Contains(rs.Suspects, vm.Member) {
				m.State = "down"
			}
		}
		out = append(out, m)
	}
	return out
}

func (n *node) warnings(rs host.Status) []admin.Warning {
	out := []admin.Warning{}
	add := func(code, format string, args ...any) {
		out = append(out, admin.Warning{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	if rs.DiskErr != "" {
		add("disk", "the ring's log cannot be written: %s", rs.DiskErr)
	}
	if list := n.faultList(); len(list) > 0 {
		add("fault", "%d links of this node are made bad on purpose; 'rainctl fault clear' ends that", len(list))
	}
	n.mu.Lock()
	unlisted, keys := n.unlisted, n.keys
	n.mu.Unlock()
	if err := n.needVersion(maxVersion); err != nil && rs.Primary {
		add("version", "%v", err)
	}
	if unlisted != "" {
		add("roster", "%s", unlisted)
	}
	if len(keys) > 1 {
		add("key", "the cluster key is being changed; if nobody is at it, 'rainctl key change' ends it")
	}
	if away := n.witnessAway.Load(); away != nil {
		add("witness", "the witness is away: while it is, no exact half of the view can go on: %s", *away)
	}
	for _, text := range n.differing() {
		add("settings", "%s", text)
	}
	for _, w := range n.file.Warnings {
		add("config", "%s", w)
	}
	return out
}

// tolerance says what may be lost now, by the quorum rule and the catalog.
func (n *node) tolerance(rs host.Status) admin.Tolerance {
	t := admin.Tolerance{SafeToLose: []string{}}
	alive := func(m ring.Member) bool { return !slices.Contains(rs.Suspects, m) }
	t.Ring = mayDie(rs.Views, alive)
	data, known := n.store.Tolerance()
	if known {
		t.Data = &data
	}
	if !rs.Primary {
		t.Ring = 0
		return t
	}
	for _, m := range rs.View.Members {
		if alive(m.Member) && n.survives(rs, func(w ring.Member) bool { return alive(w) && w != m.Member }) && (!known || data > 0) {
			t.SafeToLose = append(t.SafeToLose, n.known.name(m.ID))
		}
	}
	return t
}

// survives reports whether those for which in is true are a quorum of all views
// in force.
func (n *node) survives(rs host.Status, in func(ring.Member) bool) bool {
	for i := range rs.Views {
		if !n.quorum(rs, i, in) {
			return false
		}
	}
	return len(rs.Views) > 0
}

// mayDie is how many members, whichever they are, may die at once with a quorum
// left. Losing the distinguished member is the worst case, so the others with
// it gone are what counts.
func mayDie(views []ring.IndexedView, alive func(ring.Member) bool) int {
	best := -1
	for _, v := range views {
		up := 0
		for _, m := range v.View.Members {
			if alive(m.Member) {
				up++
			}
		}
		can := up - (len(v.View.Members)/2 + 1)
		if best < 0 || can < best {
			best = can
		}
	}
	return max(best, 0)
}

// judge sums the status up in a word and a sentence.
func judge(s admin.Status, rs host.Status, vips []vip.Status, st store.Status) (health, sentence string) {
	up, down := 0, []string{}
	for _, m := range s.Members {
		if m.State == "down" {
			down = append(down, m.Name)
		} else {
			up++
		}
	}
	unheld := []string{}
	for _, v := range vips {
		if v.Holder == 0 {
			unheld = append(unheld, v.Addr.String())
		}
	}
	held := "It holds no virtual IP and takes no writes"
	if s.Ring.Alone {
		held = "By policy any it goes on with its addresses; it takes no writes"
	}
	switch {
	case !rs.Primary && s.Ring.State == "joining" && s.Ring.Alone:
		return "critical", fmt.Sprintf("%s is joining: %s. %s.", s.Node, s.Ring.Reason, held)
	case !rs.Primary && s.Ring.State == "joining":
		return "critical", fmt.Sprintf("%s is joining: %s. It serves what it has.", s.Node, s.Ring.Reason)
	case !rs.Primary && s.Ring.State == "isolated":
		return "critical", fmt.Sprintf("%s is isolated: %s. %s.", s.Node, s.Ring.Reason, held)
	case !rs.Primary:
		return "critical", fmt.Sprintf("%s waits for the token. It holds no virtual IP and takes no writes.", s.Node)
	case st.Disk == "failed" || st.Disk == "full" || rs.DiskErr != "":
		return "critical", fmt.Sprintf("The disk of %s is %s: it takes no writes.", s.Node, st.Disk)
	case len(unheld) > 0:
		return "critical", fmt.Sprintf("Nobody holds %s.", strings.Join(unheld, ", "))
	}
	lose := "no node may die now"
	if len(s.Tolerance.SafeToLose) > 0 {
		lose = "any one of " + strings.Join(s.Tolerance.SafeToLose, ", ") + " may die now"
	}
	switch {
	case len(down) > 0:
		return "degraded", fmt.Sprintf("%d of %d nodes are up (%s down); everything is served; %s.", up, len(s.Members), strings.Join(down, ", "), lose)
	case st.Missing > 0:
		return "degraded", fmt.Sprintf("All %d nodes are up; %s still fetches %d bodies; %s.", up, s.Node, st.Missing, lose)
	case len(s.Tolerance.SafeToLose) < len(rs.View.Members) && len(rs.View.Members) > 1:
		return "degraded", fmt.Sprintf("All %d nodes are up; %s.", up, lose)
	}
	return "ok", fmt.Sprintf("All %d nodes are up and every virtual IP is held; %s.", up, lose)
}

// Events lists what happened on this node's ring and VIPs.
func (n *node) Events(after uint64) []admin.Event {
	var out []admin.Event
	for _, e := range n.host.Events(after) {
		out = append(out, admin.Event{ID: e.ID, Time: e.Time, Node: e.Node, Kind: e.Kind, Text: e.Text, Why: e.Why, GapMS: e.Gap.Milliseconds()})
	}
	return out
}
