package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"rain/cmd/internal/cli"
	"rain/ring/topology"
)

type topologyCmd struct {
	Nodes    int    `default:"10" help:"Nodes."`
	Switches int    `default:"4" help:"Switches, in a ring."`
	Links    int    `default:"2" help:"Interfaces of a node."`
	Ports    int    `default:"0" help:"Ports of a switch; 0: as many as it takes."`
	Kind     string `default:"diameter" enum:"naive,diameter,chord" help:"How nodes are connected: naive, diameter or chord."`
	Offset   int    `default:"0" help:"Of a chord; 0: near the square root of the switches."`
	Faults   int    `default:"3" help:"How many things fail at once."`
	Of       string `default:"any" enum:"any,switches,nodes,ring,links" help:"What may fail: any, switches, nodes, ring (its links) or links (of nodes)."`
	Model    string `default:"one-relay" enum:"direct,one-relay,relay" help:"Who can talk: direct, by one-relay node between, or by any number (relay)."`
	SVG      string `name:"svg" placeholder:"FILE" help:"Draw the net with the worst faults into a file."`
}

// worstAnswer is what is known of one construction.
type worstAnswer struct {
	Kind     topology.Kind `json:"kind"`
	Offset   int           `json:"offset,omitempty"`
	Loss     int           `json:"worst_loss"`
	FaultSet []string      `json:"fault_set"`
	Sets     int64         `json:"sets"` // that were tried; turns of the ring count once
}

type topologyAnswer struct {
	API      int    `json:"api"`
	Nodes    int    `json:"nodes"`
	Switches int    `json:"switches"`
	Links    int    `json:"links"`
	Model    string `json:"model"`
	Of       string `json:"of"`
	Faults   int    `json:"faults"`
	worstAnswer
	Others []worstAnswer `json:"others"`
}

func (c *topologyCmd) Run(a *app, _ verb) error {
	net, err := c.net(topology.Kind(c.Kind), c.Offset)
	if err != nil {
		return err
	}
	worst, faults, err := c.worst(a, net)
	if err != nil {
		return err
	}
	out := topologyAnswer{API: 1, Nodes: c.Nodes, Switches: c.Switches, Links: c.Links, Model: c.Model, Of: c.Of, Faults: c.Faults, worstAnswer: worst, Others: []worstAnswer{}}
	for _, kind := range []topology.Kind{topology.Naive, topology.Diameter, topology.Chord} {
		if kind == net.Kind {
			continue
		}
		other, err := c.net(kind, 0)
		if err != nil {
			continue // this number of switches does not have that construction
		}
		w, _, err := c.worst(a, other)
		if err != nil {
			return err
		}
		out.Others = append(out.Others, w)
	}
	if c.SVG != "" {
		svg, err := net.SVG(topology.Model(c.Model), faults)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.SVG, []byte(svg), 0o644); err != nil {
			return cli.New(cli.Failed, "write", "", "the drawing: %v", err)
		}
	}
	return a.print(out, out.text)
}

func (c *topologyCmd) net(kind topology.Kind, offset int) (*topology.Net, error) {
	n, err := topology.New(kind, c.Nodes, c.Switches, c.Links, c.Ports, offset)
	if err != nil {
		return nil, &cli.Error{Exit: cli.BadInput, Code: "bad_topology", Err: err}
	}
	return n, nil
}

func (c *topologyCmd) worst(a *app, n *topology.Net) (worstAnswer, []topology.Element, error) {
	parts := map[string][]topology.Part{
		"switches": {topology.Switch}, "nodes": {topology.Node}, "ring": {topology.RingLink}, "links": {topology.NodeLink},
	}
	r, err := n.Worst(a.ctx, topology.Model(c.Model), c.Faults, parts[c.Of]...)
	if err != nil {
		if a.ctx.Err() != nil {
			return worstAnswer{}, nil, errors.Join(err, a.ctx.Err())
		}
		return worstAnswer{}, nil, &cli.Error{Exit: cli.BadInput, Code: "bad_topology", Err: err}
	}
	w := worstAnswer{Kind: n.Kind, Offset: n.Offset, Loss: r.Loss, FaultSet: []string{}, Sets: r.Sets}
	for _, e := range r.Faults {
		w.FaultSet = append(w.FaultSet, e.String())
	}
	return w, r.Faults, nil
}

func (t topologyAnswer) text(w io.Writer) {
	fmt.Fprintf(w, "%d nodes with %d links on a ring of %d switches, %d faults of %s kind, model %s\n\n", t.Nodes, t.Links, t.Switches, t.Faults, t.Of, t.Model)
	fmt.Fprintf(w, "%-12s %10s  %-12s %s\n", "KIND", "WORST LOSS", "SETS TRIED", "A SET THAT DOES IT")
	for _, x := range append([]worstAnswer{t.worstAnswer}, t.Others...) {
		name := string(x.Kind)
		if x.Offset > 0 {
			name = fmt.Sprintf("%s +%d", x.Kind, x.Offset)
		}
		fmt.Fprintf(w, "%-12s %10s  %-12d %s\n", name, fmt.Sprintf("%d of %d", x.Loss, t.Nodes), x.Sets, strings.Join(x.FaultSet, " "))
	}
}
