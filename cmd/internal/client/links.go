package client

import (
	"context"
	"sync"

	"rain/snow/admin"
)

// Links asks every node that is known for its paths. Those that do not answer
// are left out; an error means that none did. With history each path brings its
// last transitions.
func (c *Client) Links(ctx context.Context, history bool) ([]admin.LinksAnswer, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	path := "/api/v1/links"
	if history {
		path += "?history=1"
	}
	ask := func(o *Client) (a admin.LinksAnswer, err error) {
		err = o.call(ctx, request{method: "GET", path: path}, &a)
		return a, err
	}
	type answer struct {
		admin.LinksAnswer
		err error
	}
	all := make([]answer, len(st.Members))
	var wg sync.WaitGroup
	for i, m := range st.Members {
		wg.Go(func() {
			o, err := c.Node(ctx, m.Name)
			if err == nil {
				all[i].LinksAnswer, err = ask(o)
			}
			all[i].err = err
		})
	}
	wg.Wait()
	var out []admin.LinksAnswer
	for _, a := range all {
		if a.err == nil {
			out = append(out, a.LinksAnswer)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	a, err := ask(c) // addresses of nodes are not known here
	if err != nil {  // an older node: its status has to do
		a = admin.LinksAnswer{API: admin.API, Node: st.Node, Neighbours: []admin.Neighbour{}, Relays: []admin.Relay{}}
		for _, l := range st.Links {
			a.Links = append(a.Links, admin.LinkPath{Link: l})
		}
	}
	return []admin.LinksAnswer{a}, nil
}
