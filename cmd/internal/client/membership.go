package client

import (
	"context"
	"net/url"

	"rain/snow/admin"
)

// Invite makes an invitation.
func (c *Client) Invite(ctx context.Context, o admin.InviteOrder) (admin.Invited, error) {
	var a admin.Invited
	r, err := request{method: "POST", path: "/api/v1/invitations", twiceDiffers: true}.jsonBody(o)
	if err == nil {
		err = c.call(ctx, r, &a)
	}
	return a, err
}

// Invitations lists what was made and has not expired.
func (c *Client) Invitations(ctx context.Context) (admin.InvitationsAnswer, error) {
	var a admin.InvitationsAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/invitations"}, &a)
	return a, err
}

// Revoke takes an invitation back.
func (c *Client) Revoke(ctx context.Context, id string) error {
	return c.delete(ctx, request{method: "DELETE", path: "/api/v1/invitations/" + url.PathEscape(id)})
}

// Leave has a node hand over, leave and end. Nobody can do it for it.
func (c *Client) Leave(ctx context.Context, node string) error {
	n, err := c.Node(ctx, node)
	if err != nil {
		return err
	}
	return n.post(ctx, "/api/v1/nodes/"+url.PathEscape(node)+"/leave", struct{}{}, nil)
}

// Forget takes a node that is gone off the cluster's list.
func (c *Client) Forget(ctx context.Context, node string) error {
	return c.post(ctx, "/api/v1/nodes/"+url.PathEscape(node)+"/forget", struct{}{}, nil)
}

// Keys says which keys the nodes have.
func (c *Client) Keys(ctx context.Context) (admin.KeyAnswer, error) {
	var a admin.KeyAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/key"}, &a)
	return a, err
}

// ChangeKey changes the cluster key while all runs.
func (c *Client) ChangeKey(ctx context.Context, without []string) (admin.KeyAnswer, error) {
	var a admin.KeyAnswer
	r, err := request{method: "POST", path: "/api/v1/key", twiceDiffers: true}.jsonBody(admin.KeyOrder{Without: without})
	if err == nil {
		err = c.call(ctx, r, &a)
	}
	return a, err
}

// Quorum says what the view can lose, as one node sees it.
func (c *Client) Quorum(ctx context.Context) (admin.QuorumAnswer, error) {
	var a admin.QuorumAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/ring/quorum"}, &a)
	return a, err
}

// Bootstrap starts the cluster from a node's disk alone.
func (c *Client) Bootstrap(ctx context.Context, node string) error {
	n, err := c.Node(ctx, node)
	if err != nil {
		return err
	}
	return n.post(ctx, "/api/v1/ring/bootstrap", admin.BootstrapOrder{Force: true}, nil)
}

// Settings are what all nodes have in common.
func (c *Client) Settings(ctx context.Context) (admin.SettingsAnswer, error) {
	var a admin.SettingsAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/settings"}, &a)
	return a, err
}

// Set changes a setting on all nodes.
func (c *Client) Set(ctx context.Context, key, value string) error {
	r, err := request{method: "PUT", path: "/api/v1/settings/" + url.PathEscape(key)}.jsonBody(admin.SettingOrder{Value: value})
	if err != nil {
		return err
	}
	return c.call(ctx, r, nil)
}

// Unset takes a setting away.
func (c *Client) Unset(ctx context.Context, key string) error {
	return c.delete(ctx, request{method: "DELETE", path: "/api/v1/settings/" + url.PathEscape(key)})
}
