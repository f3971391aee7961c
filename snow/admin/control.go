package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"rain/snow/site"
)

// SitesAnswer lists the sites; PublishedAnswer is about one.
type (
	SitesAnswer struct {
		API   int         `json:"api"`
		Sites []site.Info `json:"sites"`
	}
	PublishedAnswer struct {
		API int `json:"api"`
		site.Result
	}
	// MissingAnswer lists the hashes whose bodies have to be uploaded.
	MissingAnswer struct {
		API     int      `json:"api"`
		Missing []string `json:"missing"`
	}
	// PublishOrder is the body of POST /api/v1/sites/HOST/publish.
	PublishOrder struct {
		Default bool `json:"default"` // answer hosts that no site has
		site.Manifest
	}
)

func (c *call) sites() error {
	switch {
	case c.s.deps.Sites == nil:
		return noSuchPath("/api/v1/sites")
	case len(c.path) == 1:
		return c.listSites()
	case len(c.path) == 2:
		return c.removeSite(c.path[1])
	case len(c.path) == 4 && c.path[2] == "blobs":
		return c.putBlob(c.path[1], c.path[3])
	case len(c.path) == 3:
		if err := c.allow("POST"); err != nil {
			return err
		}
		switch c.path[2] {
		case "missing":
			return c.missing(c.path[1])
		case "publish":
			return c.publish(c.path[1])
		case "rollback":
			return c.rollback(c.path[1])
		}
	}
	return noSuchPath(string(c.Path()))
}

func (c *call) listSites() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	list, err := c.s.deps.Sites.List(ctx)
	if err != nil {
		return err
	}
	notNil(&list)
	sendJSON(c.RequestCtx, 200, SitesAnswer{API, list})
	return nil
}

func (c *call) removeSite(host string) error {
	if err := c.allow("DELETE"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if err := c.s.deps.Sites.Remove(ctx, host); err != nil {
		return err
	}
	c.SetStatusCode(204)
	return nil
}

func (c *call) publish(host string) error {
	var o PublishOrder
	if err := c.json(&o); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return fail(422, "bad_input", err.Error(), "")
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	r, err := c.s.deps.Sites.Commit(ctx, host, o.Manifest, o.Default)
	if err != nil {
		return err
	}
	sendJSON(c.RequestCtx, 200, PublishedAnswer{API, r})
	return nil
}

func (c *call) rollback(host string) error {
	var o struct {
		Version uint64 `json:"version"`
	}
	if err := c.json(&o); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	r, err := c.s.deps.Sites.Rollback(ctx, host, o.Version)
	if err != nil {
		return err
	}
	sendJSON(c.RequestCtx, 200, PublishedAnswer{API, r})
	return nil
}

func (c *call) missing(host string) error {
	var o struct {
		SHA256 []string `json:"sha256"`
	}
	if err := c.json(&o); err != nil {
		return err
	}
	if len(o.SHA256) > site.MaxFiles {
		return fail(413, "too_large", fmt.Sprintf("%d hashes asked for; a site has at most %d files", len(o.SHA256), site.MaxFiles), "")
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	a := MissingAnswer{API: API}
	var err error
	if a.Missing, err = c.s.deps.Sites.Have(ctx, host, o.SHA256); err != nil {
		return err
	}
	notNil(&a.Missing)
	sendJSON(c.RequestCtx, 200, a)
	return nil
}

func (c *call) putBlob(host, sha string) error {
	if err := c.allow("PUT"); err != nil {
		return err
	}
	ctx, cancel := c.s.uploadContext(c.body.size)
	defer cancel()
	if err := c.s.deps.Sites.PutBlob(ctx, host, sha, c.body); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c.body); err != nil {
		return fmt.Errorf("admin: read the body: %w", err)
	}
	c.SetStatusCode(204)
	return nil
}

func (c *call) nodes() error {
	cl := c.s.deps.Cluster
	if cl == nil || len(c.path) != 3 {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("POST"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	node, verb := c.path[1], c.path[2]
	var err error
	switch verb {
	case "drain":
		err = cl.Drain(ctx, node)
	case "undrain":
		err = cl.Undrain(ctx, node)
	case "leave", "forget":
		err = c.goodbye(ctx, node, verb)
	default:
		return noSuchPath(string(c.Path()))
	}
	if err != nil {
		return err
	}
	c.s.log.Info("operator's order", slog.String("what", verb), slog.String("node", node))
	sendJSON(c.RequestCtx, 200, done{API, verb + " " + node})
	return nil
}

// goodbye does the two orders that end a node's time in the cluster.
func (c *call) goodbye(ctx context.Context, node, verb string) error {
	m := c.s.deps.Membership
	switch {
	case m == nil:
		return noSuchPath(string(c.Path()))
	case verb == "leave":
		return m.Leave(node)
	}
	return m.Forget(ctx, node)
}

func (c *call) vips() error {
	cl := c.s.deps.Cluster
	if cl == nil || len(c.path) != 3 || c.path[2] != "move" {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("POST"); err != nil {
		return err
	}
	var req struct {
		Node string `json:"node"`
	}
	if err := c.json(&req); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if err := cl.MoveVIP(ctx, c.path[1], req.Node); err != nil {
		return err
	}
	c.s.log.Info("operator's order", slog.String("what", "move"), slog.String("vip", c.path[1]), slog.String("node", req.Node))
	sendJSON(c.RequestCtx, 200, done{API, "move " + c.path[1] + " to " + req.Node})
	return nil
}

// FaultOrder is the body of POST /api/v1/fault/VERB. Node is who is meant to do
// it; a node refuses what is meant for another one.
type FaultOrder struct {
	Node    string  `json:"node,omitempty"`
	Peer    string  `json:"peer,omitempty"`
	Link    string  `json:"link,omitempty"`
	OneWay  bool    `json:"one_way,omitempty"`
	Percent float64 `json:"percent,omitempty"`
	DelayMS float64 `json:"delay_ms,omitempty"`
}

const maxDelay = time.Minute

func (o FaultOrder) check(verb string) error {
	switch {
	case verb == "cut" || verb == "heal" || verb == "drop" || verb == "delay":
		if o.Peer == "" {
			return fail(422, "bad_input", verb+" needs a peer", "")
		}
	case verb != "clear" && verb != "crash" && verb != "freeze":
		return noSuchPath("/api/v1/fault/" + verb)
	}
	if math.IsNaN(o.Percent) || o.Percent < 0 || o.Percent > 100 {
		return fail(422, "bad_input", "percent must be from 0 to 100", "")
	}
	if math.IsNaN(o.DelayMS) || o.DelayMS < 0 || o.DelayMS > float64(maxDelay.Milliseconds()) {
		return fail(422, "bad_input", fmt.Sprintf("delay_ms must be from 0 to %d", maxDelay.Milliseconds()), "")
	}
	return nil
}

func (c *call) fault() error {
	if len(c.path) != 2 {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("POST"); err != nil {
		return err
	}
	f := c.s.deps.Fault
	if !c.s.cfg.Fault || f == nil {
		return fail(403, "faults_refused", "node "+c.s.cfg.Node+" does not allow faults", "set 'allow = true' in [fault] of its node file, never in production")
	}
	verb := c.path[1]
	var o FaultOrder
	if err := c.json(&o); err != nil {
		return err
	}
	if err := o.check(verb); err != nil {
		return err
	}
	if o.Node != "" && o.Node != c.s.cfg.Node {
		return fmt.Errorf("admin: this is %s, not %s: %w", c.s.cfg.Node, o.Node, ErrWrongNode)
	}
	var err error
	switch verb {
	case "cut":
		err = f.Cut(o.Peer, o.Link, o.OneWay)
	case "heal":
		err = f.Heal(o.Peer, o.Link, o.OneWay)
	case "drop":
		err = f.Drop(o.Peer, o.Percent)
	case "delay":
		err = f.Delay(o.Peer, time.Duration(o.DelayMS*float64(time.Millisecond)))
	case "clear":
		err = f.Clear()
	case "crash":
		c.s.afterAnswer(verb, f.Crash)
	case "freeze":
		c.s.afterAnswer(verb, f.Freeze)
	}
	if err != nil {
		return err
	}
	c.s.log.Warn("fault on the operator's order", slog.String("what", verb), slog.String("peer", o.Peer))
	sendJSON(c.RequestCtx, 200, done{API, verb})
	return nil
}

// afterAnswer runs what would keep the answer from getting out.
func (s *Server) afterAnswer(verb string, f func() error) {
	s.wg.Go(func() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.base.Done():
			return
		}
		if err := f(); err != nil {
			s.log.Error("fault failed", slog.String("what", verb), slog.Any("err", err))
		}
	})
}
