package main

import (
	"errors"

	"rain/cmd/internal/client"
	"rain/snow/admin"
)

type faultCmd struct {
	Crash  nodeFaultCmd  `cmd:"" help:"Kill a node (SIGKILL)."`
	Freeze nodeFaultCmd  `cmd:"" help:"Stop a node's clockwork (SIGSTOP)."`
	Thaw   controlCmd    `cmd:"" help:"Let a frozen node of a demo go on."`
	Start  controlCmd    `cmd:"" help:"Start a dead node of a demo again."`
	Cut    linkFaultCmd  `cmd:"" help:"Cut the path between two nodes: no datagram and no byte of a connection passes."`
	Heal   linkFaultCmd  `cmd:"" help:"Undo a cut."`
	Drop   dropCmd       `cmd:"" help:"Lose a share of the datagrams between two nodes, each way."`
	Delay  delayCmd      `cmd:"" help:"Delay the datagrams between two nodes, each way."`
	Clear  clearFaultCmd `cmd:"" help:"Undo all cuts, drops and delays on all nodes in reach."`
}

// verb is the last word of the command that kong has found.
type verb string

type nodeFaultCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (f *nodeFaultCmd) Run(a *app, v verb) error {
	if err := a.order(string(v), f.Node, admin.FaultOrder{}); err != nil {
		return err
	}
	return a.done("%s %s", v, safe(f.Node))
}

type controlCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (f *controlCmd) Run(a *app, v verb) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.ControlNode(a.ctx, f.Node, string(v)); err != nil {
		return err
	}
	return a.done("%s %s", v, safe(f.Node))
}

type linkFaultCmd struct {
	A      string `arg:"" help:"Name of a node."`
	B      string `arg:"" help:"Name of another node."`
	Link   string `help:"Only this link, as A's node file names it; else all."`
	OneWay bool   `help:"Only from A to B. Connections need both ways, and stop."`
}

func (f *linkFaultCmd) Run(a *app, v verb) error {
	if v == "heal" && !f.OneWay {
		// The cut may have been ordered from the other end, which may call the link
		// by another name.
		err := a.order("heal", f.B, admin.FaultOrder{Peer: f.A, Link: f.Link})
		e, answered := errors.AsType[*client.Error](err)
		otherName := f.Link != "" && answered && e.Status == 404
		if err != nil && !client.Unreachable(err) && !otherName {
			return err
		}
	}
	return a.between(string(v), f.A, admin.FaultOrder{Peer: f.B, Link: f.Link, OneWay: f.OneWay})
}

type dropCmd struct {
	A       string  `arg:"" help:"Name of a node."`
	B       string  `arg:"" help:"Name of another node."`
	Percent float64 `arg:"" help:"0 to 100."`
}

func (f *dropCmd) Run(a *app, v verb) error {
	return a.between(string(v), f.A, admin.FaultOrder{Peer: f.B, Percent: f.Percent})
}

type delayCmd struct {
	A  string  `arg:"" help:"Name of a node."`
	B  string  `arg:"" help:"Name of another node."`
	MS float64 `arg:"" help:"Milliseconds."`
}

func (f *delayCmd) Run(a *app, v verb) error {
	return a.between(string(v), f.A, admin.FaultOrder{Peer: f.B, DelayMS: f.MS})
}

// between gives the order to node x, which does it for both directions.
func (a *app) between(v, x string, o admin.FaultOrder) error {
	if x == o.Peer {
		return usage("%s needs two different nodes", v)
	}
	if err := a.order(v, x, o); err != nil {
		return err
	}
	return a.done("%s %s %s", v, safe(x), safe(o.Peer))
}

func (a *app) order(v, node string, o admin.FaultOrder) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	o.Node = node
	return c.Fault(a.ctx, v, o)
}

type clearFaultCmd struct{}

func (*clearFaultCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := c.Status(a.ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range st.Members {
		err := c.Fault(a.ctx, "clear", admin.FaultOrder{Node: m.Name})
		if client.Unreachable(err) {
			continue // a node that does not run has no faults
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return a.done("cleared all faults")
}

// verbOf finds the fault's name in kong's command, such as "fault cut <a> <b>".
func verbOf(words []string) verb {
	if len(words) > 1 {
		return verb(words[1])
	}
	return ""
}
