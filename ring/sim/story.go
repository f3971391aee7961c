package sim

import (
	"fmt"
	"strings"
	"time"

	"rain/ring"
)

// stamp writes a true time or a span for people.
func stamp(t int64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.3f", float64(t)/float64(time.Millisecond)), ".000") + "ms"
}

// name is n2/7 for the node 0.1.0.2 in incarnation 7.
func (c *Cluster) name(m ring.Member) string {
	if i := c.index(m.ID); i >= 0 {
		return fmt.Sprintf("n%d/%d", i+1, m.Inc)
	}
	return m.String()
}

func (c *Cluster) viewName(v ring.View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "view %d =", v.Number)
	for _, m := range v.Members {
		b.WriteString(" " + c.name(m.Member))
	}
	return b.String()
}

// tracef writes one line of the run; i is a node's index or -1.
func (c *Cluster) tracef(i int, format string, args ...any) {
	if c.trace == nil {
		return
	}
	who := "--"
	if i >= 0 {
		who = fmt.Sprintf("n%d", i+1)
	}
	fmt.Fprintf(c.trace, "t=%-12s %s %s\n", stamp(c.now), who, fmt.Sprintf(format, args...))
}

// traces counts and writes what a machine tells of itself.
func (c *Cluster) traces(n *node, list []ring.Trace) {
	for k := range list {
		t := &list[k]
		switch t.Kind {
		case ring.TraceMake:
			c.Count.Regenerations++
		case ring.TraceDenied:
			c.Count.Denials++
		case ring.TraceView:
			if !strings.HasPrefix(t.Text, "delivered") {
				c.Count.ViewChanges++
			}
		case ring.TraceColdMade:
			if t.View > 1 {
				c.Count.ColdStarts++
			} else {
				c.Count.Founded++
			}
		case ring.TraceCutOps:
			c.Count.CutOps++
		}
		if c.onTrace != nil {
			c.onTrace(n, t)
		}
		if c.trace == nil || !c.hops && (t.Kind == ring.TraceAccept || t.Kind == ring.TracePass) {
			continue
		}
		c.tracef(n.i, "%s", c.story(t))
	}
}

func (c *Cluster) story(t *ring.Trace) string {
	u := *t
	u.Peer = ring.Member{}
	s := u.String()
	if !t.Peer.IsZero() {
		s = strings.Replace(s, string(t.Kind), string(t.Kind)+" "+c.name(t.Peer), 1)
	}
	for i := range c.nodes {
		s = strings.ReplaceAll(s, nodeID(i).String()+"/", fmt.Sprintf("n%d/", i+1))
	}
	return s
}

// states is a line about each node, for a failure's text.
func (c *Cluster) states() string {
	var b strings.Builder
	for _, n := range c.nodes {
		if !n.up {
			fmt.Fprintf(&b, "\n  n%d down", n.i+1)
			continue
		}
		s := &n.seen
		fmt.Fprintf(&b, "\n  %s %s isolated=%t holding=%t copy=%s promised=%s last=%d commit=%d stable=%d applied=%d waiting=%d disk=%s",
			c.name(n.me), s.State, s.Isolated, s.Holding, s.Copy, s.Promised, s.Last, s.Commit, s.Stable, n.st.index, len(n.props), n.disk.rec.Stamp)
		for _, v := range s.Views {
			fmt.Fprintf(&b, " [%d: %s]", v.Index, c.viewName(v.View))
		}
	}
	return b.String()
}

// describe is a message for people.
func describe(m ring.Message) string {
	switch m := m.(type) {
	case *ring.Token:
		return fmt.Sprintf("token %s base %d last %d commit %d stable %d", m.Stamp(), m.Base, m.Last(), m.Commit, m.Stable)
	default:
		return fmt.Sprintf("%s%+v", strings.TrimPrefix(fmt.Sprintf("%T", m), "ring."), m)
	}
}
