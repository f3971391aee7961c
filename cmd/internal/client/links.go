package client

import (
	"context"
	"maps"
	"slices"
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
	var mu sync.Mutex
	answers := map[string]admin.LinksAnswer{} // by node
	note := func(o *Client) {
		if a, err := ask(o); err == nil {
			mu.Lock()
			answers[a.Node] = a
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for _, u := range c.urls {
		wg.Go(func() { note(c.at(u)) })
	}
	wg.Wait()
	for _, m := range st.Members {
		if _, ok := answers[m.Name]; ok {
			continue
		}
		if o, err := c.Node(ctx, m.Name); err == nil {
			note(o)
		}
	}
	if len(answers) > 0 {
		var out []admin.LinksAnswer
		for _, name := range slices.Sorted(maps.Keys(answers)) {
			out = append(out, answers[name])
		}
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
