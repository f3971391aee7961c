package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rain/ring"
	"rain/ring/host"
	"rain/snow/admin"
)

// Quorum says what the view can lose, and who may die next.
func (m membership) Quorum() admin.QuorumAnswer {
	n := m.n
	rs := n.ringStatus()
	a := admin.QuorumAnswer{
		Node: n.file.Node.Name, Policy: n.file.Cluster.Policy, Primary: rs.Primary, View: rs.View.Number,
		State: n.ringPart(rs).State, Reason: n.reason(rs), Members: []admin.QuorumMember{},
	}
	if len(rs.Views) == 0 {
		return a
	}
	newest := rs.Views[len(rs.Views)-1].View
	a.Settled = len(rs.Views) == 1 && newest.Number == rs.Settled
	alive := func(w ring.Member) bool { return !slices.Contains(rs.Suspects, w) }
	a.MayDie = mayDie(rs.Views, alive)
	a.Need = len(newest.Members)/2 + 1
	d := newest.Distinguished()
	if i := len(rs.Views) - 1; n.file.Cluster.Policy == "witness" && i < len(rs.Ties) {
		d = rs.Ties[i] // nobody, before the witness has named one
	}
	a.Distinguished = n.known.name(d.ID)
	for _, v := range newest.Members {
		q := admin.QuorumMember{Name: n.known.name(v.ID), ID: v.ID.String(), State: "up", Since: v.Since, Distinguished: v.Member == d, Then: []string{}}
		if !alive(v.Member) {
			q.State = "down"
		}
		q.MayDie = rs.Primary && alive(v.Member) && n.survives(rs, func(w ring.Member) bool { return alive(w) && w != v.Member })
		if q.MayDie {
			q.Then = n.thenMayDie(newest, v.Member, alive)
		}
		a.Members = append(a.Members, q)
	}
	a.Text = quorumText(a)
	return a
}

// thenMayDie are those who may die once the view without the first one has
// settled.
func (n *node) thenMayDie(v ring.View, first ring.Member, alive func(ring.Member) bool) []string {
	rest := ring.View{Number: v.Number + 1}
	for _, m := range v.Members {
		if m.Member != first && alive(m.Member) {
			rest.Members = append(rest.Members, m)
		}
	}
	out := []string{}
	for _, m := range rest.Members {
		// The witness, if it is there, will name who is left.
		asked := n.file.Cluster.Policy == "witness" && n.witnessAway.Load() == nil && len(rest.Members) > 1
		tie := rest.Distinguished()
		if n.file.Cluster.Policy == "witness" {
			tie = ring.Member{}
		}
		if asked && m.Member == rest.Members[0].Member {
			tie = rest.Members[1].Member
		} else if asked {
			tie = rest.Members[0].Member
		}
		if rest.QuorumWith(func(w ring.Member) bool { return w != m.Member }, tie) {
			out = append(out, n.known.name(m.ID))
		}
	}
	return out
}

// quorumText says it for somebody at three in the morning.
func quorumText(a admin.QuorumAnswer) string {
	var may, not []string
	for _, m := range a.Members {
		if m.MayDie {
			may = append(may, m.Name)
		} else if m.State == "up" {
			not = append(not, m.Name)
		}
	}
	switch {
	case !a.Primary:
		return "This node is not in the primary component: " + a.Reason + "."
	case len(a.Members) == 1:
		return "One node: it is the whole cluster. If it dies, all stops until it is started again."
	case len(may) == 0 && a.Policy == "witness":
		return "No node may die now. Look whether the witness is there, or bring nodes back."
	case len(may) == 0:
		return "No node may die now. Wait until the view has settled, or bring nodes back."
	case len(not) > 0:
		return fmt.Sprintf("%s may die now. If %s dies, the rest stops: of exactly half a view only the half with %s goes on.",
			strings.Join(may, ", "), strings.Join(not, " or "), a.Distinguished)
	}
	return fmt.Sprintf("Any %d of these may die at once, each of them now; after each death that has settled, more.", max(a.MayDie, 1))
}

// reason says why this node does not act: for status, picture and log. It is
// empty in the primary component.
func (n *node) reason(rs host.Status) string {
	switch {
	case rs.Primary:
		return ""
	case rs.Search != nil:
		return rs.Search.Text(n.known.name)
	case rs.State == "member" && n.isolated():
		return n.isolation(rs)
	case rs.State == "member":
		return "the token is late; the lease comes back with it"
	}
	return "its ring begins a new life"
}

// isolation says whom an isolated member reaches and whom it lacks.
func (n *node) isolation(rs host.Status) string {
	var here, away []string
	up := map[ring.NodeID]bool{n.file.Node.ID: true}
	for _, p := range n.tr.Stats().Paths {
		up[p.Peer.ID] = up[p.Peer.ID] || p.Up
	}
	size := 0
	if len(rs.Views) > 0 {
		v := rs.Views[len(rs.Views)-1].View
		size = len(v.Members)
		for _, m := range v.Members {
			if up[m.ID] {
				here = append(here, n.known.name(m.ID))
			} else {
				away = append(away, n.known.name(m.ID))
			}
		}
	}
	text := fmt.Sprintf("no quorum: of the %d members of the last view it reaches %s", size, strings.Join(here, ", "))
	if len(away) > 0 {
		text += ", not " + strings.Join(away, ", ")
	}
	switch {
	case size == 0 || size%2 != 0 || len(here) != size/2:
	case n.witnessAway.Load() != nil:
		text += "; exactly half counts only if the witness names one of it, and it does not answer"
	case n.file.Cluster.Policy == "witness":
		text += "; exactly half counts only if the witness named one of it"
	default:
		text += fmt.Sprintf("; exactly half counts only with %s", n.known.name(rs.Views[len(rs.Views)-1].View.Distinguished().ID))
	}
	return text
}

// Bootstrap starts the cluster from this node's disk alone.
func (m membership) Bootstrap(ctx context.Context, force bool) error {
	if !force {
		return fmt.Errorf("%w: this starts the cluster from the disk of %s alone: what only other nodes have is lost, and if others still run there are two clusters; say force", admin.ErrConflict, m.n.file.Node.Name)
	}
	err := m.n.host.Bootstrap(ctx)
	switch {
	case errors.Is(err, host.ErrPrimary), errors.Is(err, host.ErrEmptyDisk):
		return fmt.Errorf("%w: %w", admin.ErrConflict, err)
	case err != nil:
		return err
	}
	m.n.log.Warn("FORCED: the cluster starts from this node's disk alone; what only other disks have is lost")
	m.n.host.AddEvent("force", "the cluster starts from the disk of "+m.n.file.Node.Name+" alone", "an operator's order", 0)
	return nil
}

// noteStates tells log and events when this node stops acting, and why.
func (n *node) noteStates(ctx context.Context) error {
	last := ""
	return every(ctx, 5*retryEvery, func() {
		rs := n.ringStatus()
		if rs.Primary || rs.State == "member" && !n.isolated() {
			if last != "" {
				n.host.AddEvent("state", "in the primary component again", "", 0)
				n.log.Info("in the primary component")
			}
			last = ""
			return
		}
		if why := n.reason(rs); why != last {
			last = why
			n.host.AddEvent("state", "not in the primary component", why, 0)
			n.log.Warn("not in the primary component", "why", why)
		}
	})
}
