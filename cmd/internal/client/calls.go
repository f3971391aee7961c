package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"rain/snow/admin"
	"rain/snow/site"
)

// jsonBody makes v the body of r.
func (r request) jsonBody(v any) (request, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return r, fmt.Errorf("client: %w", err)
	}
	r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	r.size = int64(len(b))
	r.header = http.Header{"Content-Type": {"application/json"}}
	return r, nil
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	r, err := request{method: "POST", path: path}.jsonBody(in)
	if err != nil {
		return err
	}
	return c.call(ctx, r, out)
}

// Status asks the first node that answers.
func (c *Client) Status(ctx context.Context) (admin.Status, error) {
	var st admin.Status
	err := c.call(ctx, request{method: "GET", path: "/api/v1/status"}, &st)
	return st, err
}

// Events returns what happened after the event with that id, as one node tells it.
func (c *Client) Events(ctx context.Context, after uint64) (admin.Events, error) {
	var ev admin.Events
	err := c.call(ctx, request{method: "GET", path: "/api/v1/events?after=" + strconv.FormatUint(after, 10)}, &ev)
	return ev, err
}

// Node is a client of the named node alone.
func (c *Client) Node(ctx context.Context, name string) (*Client, error) {
	if u := c.nodes[name]; u != "" {
		return c.at(strings.TrimRight(u, "/")), nil
	}
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range st.Members {
		names = append(names, m.Name)
		if m.Name != name {
			continue
		}
		if m.Admin == "" {
			return nil, &Error{Status: 503, ErrorBody: admin.ErrorBody{Code: "no_admin_address",
				Text: "the cluster does not know the admin address of " + name, Hint: "name it with --admin"}}
		}
		return c.at(strings.TrimRight(m.Admin, "/")), nil
	}
	return nil, &Error{Status: 404, ErrorBody: admin.ErrorBody{Code: "no_node",
		Text: fmt.Sprintf("there is no node %q", name), Hint: "the nodes are " + strings.Join(names, ", ")}}
}

// Drain hands over what the node holds; Undrain takes it back into service.
func (c *Client) Drain(ctx context.Context, node string) error {
	return c.nodeOrder(ctx, node, "drain")
}

// Undrain is the opposite of Drain.
func (c *Client) Undrain(ctx context.Context, node string) error {
	return c.nodeOrder(ctx, node, "undrain")
}

func (c *Client) nodeOrder(ctx context.Context, node, verb string) error {
	n, err := c.Node(ctx, node)
	if err != nil {
		return err
	}
	path := "/api/v1/nodes/" + url.PathEscape(node) + "/" + verb
	if err = n.post(ctx, path, struct{}{}, nil); Unreachable(err) && len(c.urls) > 1 {
		return c.post(ctx, path, struct{}{}, nil) // others may do it for a node that is away
	}
	return err
}

// MoveVIP makes a node hold an address.
func (c *Client) MoveVIP(ctx context.Context, addr, node string) error {
	return c.post(ctx, "/api/v1/vips/"+url.PathEscape(addr)+"/move", map[string]string{"node": node}, nil)
}

// Fault makes o.Node fail in the way of verb: cut, heal, drop, delay, clear,
// crash, freeze.
func (c *Client) Fault(ctx context.Context, verb string, o admin.FaultOrder) error {
	n, err := c.Node(ctx, o.Node)
	if err != nil {
		return err
	}
	err = n.post(ctx, "/api/v1/fault/"+verb, o, nil)
	if Unreachable(err) && c.Control != "" && (verb == "crash" || verb == "freeze") {
		return c.ControlNode(ctx, o.Node, verb)
	}
	return err
}

// ControlNode has the demo do verb to a node: crash, freeze, thaw, stop, start.
func (c *Client) ControlNode(ctx context.Context, node, verb string) error {
	if c.Control == "" {
		return &Error{Status: 422, ErrorBody: admin.ErrorBody{Code: "no_control",
			Text: verb + " needs the control address of a demo", Hint: "use --cluster DIR/demo.json"}}
	}
	d := c.at(strings.TrimRight(c.Control, "/"))
	return d.post(ctx, "/nodes/"+url.PathEscape(node)+"/"+verb, struct{}{}, nil)
}

// Sites lists the published sites.
func (c *Client) Sites(ctx context.Context) ([]site.Info, error) {
	var a admin.SitesAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/sites"}, &a)
	return a.Sites, err
}

// RollbackSite goes to an older version; 0 is the one before the current one.
func (c *Client) RollbackSite(ctx context.Context, host string, version uint64) (site.Result, error) {
	var a admin.PublishedAnswer
	r, err := request{method: "POST", path: sitePath(host) + "/rollback", twiceDiffers: version == 0}.
		jsonBody(map[string]uint64{"version": version})
	if err == nil {
		err = c.call(ctx, r, &a)
	}
	return a.Result, err
}

// RemoveSite takes a site off.
func (c *Client) RemoveSite(ctx context.Context, host string) error {
	return c.delete(ctx, request{method: "DELETE", path: sitePath(host)})
}

func sitePath(host string) string { return "/api/v1/sites/" + url.PathEscape(host) }

// delete takes "not found" for success if an earlier try may have removed it.
func (c *Client) delete(ctx context.Context, r request) error {
	ctx, cancel := c.bound(ctx, r)
	defer cancel()
	a, err := c.do(ctx, r)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status == 404 && e.Repeated {
			return nil
		}
		return err
	}
	a.close()
	return nil
}
