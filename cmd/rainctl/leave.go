package main

import (
	"fmt"
	"slices"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/snow/admin"
)

type leaveCmd struct {
	Node string `arg:"" help:"Name of the node."`
	// What lies on it is moved first; a node whose content nobody else can take is
	// kept unless this is said.
	Abandon bool          `help:"Leave although content that only it has would be lost, or less safe."`
	Wait    time.Duration `default:"1h" help:"How long its content may take to move."`
}

// Run moves what the node stores, has it hand over and end, and takes it off the
// list.
func (l *leaveCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := member(a, c, l.Node)
	if err != nil {
		return err
	}
	if m.State == "down" {
		return cli.New(cli.Conflict, "down", "'rainctl node forget' takes a node off the list that does not come back, 'rainctl node replace' puts another one into its place", "%s is down: it cannot hand over", l.Node)
	}
	if !l.Abandon {
		if err := l.empty(a, c); err != nil {
			return err
		}
	}
	if err := c.Leave(a.ctx, l.Node); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s hands over and leaves\n", safe(l.Node))
	if err := gone(a, c, l.Node); err != nil {
		return err
	}
	if err := forget(a, c, l.Node); err != nil {
		return err
	}
	return a.done("%s has left the cluster for good; its folder is of no more use", safe(l.Node))
}

// member finds a node in the status.
func member(a *app, c *client.Client, name string) (admin.Member, error) {
	st, err := c.Status(a.ctx)
	if err != nil {
		return admin.Member{}, err
	}
	i := slices.IndexFunc(st.Members, func(m admin.Member) bool { return m.Name == name })
	if i < 0 {
		return admin.Member{}, cli.New(cli.NotFound, "no_node", "'rainctl status' names them", "there is no node %q", name)
	}
	return st.Members[i], nil
}

// empty moves the node's symbols to others.
func (l *leaveCmd) empty(a *app, c *client.Client) error {
	if err := c.ChangeLayout(a.ctx, "remove", l.Node, ""); err != nil && !isCode(err, "layout") {
		return fmt.Errorf("rainctl: taking %s off the layout: %w", l.Node, err)
	}
	rewritten := false
	for end := time.Now().Add(l.Wait); ; {
		v, err := c.Layout(a.ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(v.Nodes, func(n admin.LayoutNode) bool { return n.Name == l.Node })
		if i < 0 || v.Nodes[i].Symbols == 0 {
			return nil
		}
		n := v.Nodes[i]
		switch {
		case n.Role == "storage":
			return cli.New(cli.Conflict, "layout", "bring another node first, or say --abandon", "%s is needed to store: the others are too few for the buckets' codes", l.Node)
		case n.Stuck > 0 && !rewritten:
			// Nobody can take them as they are: with fewer nodes they are put again.
			if err := rewriteAll(a, c); err != nil {
				return err
			}
			rewritten = true
		case time.Now().After(end):
			return cli.New(cli.Unavailable, "timeout", "try again; 'rainctl layout show' tells how it goes; --abandon leaves it", "%d symbols are still on %s only", n.Symbols, l.Node)
		}
		fmt.Fprintf(a.stderr, "%s still has %d symbols, %s\n", safe(l.Node), n.Symbols, size(n.Bytes))
		if err := pause(a, time.Second); err != nil {
			return err
		}
	}
}

func isCode(err error, code string) bool {
	e, ok := err.(*client.Error)
	return ok && e.Code == code
}

// rewriteAll puts the objects of all buckets again, in the code of the layout.
func rewriteAll(a *app, c *client.Client) error {
	b, err := c.BucketInfos(a.ctx)
	if err != nil {
		return err
	}
	for _, name := range b.Buckets {
		fmt.Fprintf(a.stderr, "putting the objects of %s again, for fewer nodes\n", safe(name))
		for {
			v, err := c.Care(a.ctx, "rewrite", admin.CareWish{Bucket: name})
			if err != nil && !isCode(err, "busy") {
				return err
			}
			if err == nil && v.Done {
				break
			}
			if err := pause(a, 500*time.Millisecond); err != nil {
				return err
			}
			if v, err = c.StoreState(a.ctx); err == nil && v.Done {
				break
			}
		}
	}
	return nil
}

// gone waits until the node is no member any more.
func gone(a *app, c *client.Client, name string) error {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		m, err := member(a, c, name)
		if err == nil && m.State == "down" {
			return nil
		}
		if err := pause(a, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return cli.New(cli.Unavailable, "timeout", "look at its log", "%s is still a member after a minute", name)
}

func forget(a *app, c *client.Client, name string) error {
	var err error
	for range 50 { // the ring may need a moment to settle its leaving
		if err = c.Forget(a.ctx, name); err == nil || !isCode(err, "conflict") {
			return err
		}
		if err := pause(a, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}

func pause(a *app, d time.Duration) error {
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

type forgetCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (f *forgetCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Forget(a.ctx, f.Node); err != nil {
		return err
	}
	return a.done("%s is off the list; its id is never given again", safe(f.Node))
}

type replaceNodeCmd struct {
	Old string `arg:"" help:"The node that is gone for good."`
	New string `arg:"" help:"The node that takes its place; it joined before."`
}

// Run gives the new node the old one's symbols, which it rebuilds from the
// others, and takes the old one off the list.
func (r *replaceNodeCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	old, err := member(a, c, r.Old)
	if err != nil {
		return err
	}
	if old.State != "down" {
		return cli.New(cli.Conflict, "up", "'rainctl node leave' ends a living one", "%s is up", r.Old)
	}
	heir, err := member(a, c, r.New)
	if err != nil {
		return err
	}
	if heir.State != "up" {
		return cli.New(cli.Conflict, "not_up", "start it, and wait until the status shows it as up", "%s is %s", r.New, heir.State)
	}
	if err := c.ChangeLayout(a.ctx, "replace", r.Old, r.New); err != nil && !isCode(err, "layout") {
		return err
	}
	if err := forget(a, c, r.Old); err != nil {
		return err
	}
	return a.done("%s is in the place of %s and rebuilds what that one stored; 'rainctl layout show' tells how it goes", safe(r.New), safe(r.Old))
}
