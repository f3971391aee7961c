package client

import (
	"context"

	"rain/snow/admin"
)

// MakeBucket makes a bucket with wishes; Created is false if it was there.
func (c *Client) MakeBucket(ctx context.Context, name string, o admin.BucketOrder) (admin.BucketAnswer, error) {
	var a admin.BucketAnswer
	r, err := request{method: "PUT", path: objectPath(name, "")}.jsonBody(o)
	if err == nil {
		err = c.call(ctx, r, &a)
	}
	return a, err
}

// BucketInfos describes the buckets.
func (c *Client) BucketInfos(ctx context.Context) (admin.BucketsAnswer, error) {
	var a admin.BucketsAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/objects"}, &a)
	return a, err
}

// Layout tells where content lives.
func (c *Client) Layout(ctx context.Context) (admin.LayoutAnswer, error) {
	var a admin.LayoutAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/layout"}, &a)
	return a, err
}

// ChangeLayout does verb add, remove or replace; by is the new node of a replace.
func (c *Client) ChangeLayout(ctx context.Context, verb, node, by string) error {
	r, err := request{method: "POST", path: "/api/v1/layout/" + verb, twiceDiffers: true}.
		jsonBody(map[string]string{"node": node, "by": by})
	if err != nil {
		return err
	}
	return c.call(ctx, r, nil)
}

// Care has all nodes check, repair, gc or rewrite; it does not wait for the end.
func (c *Client) Care(ctx context.Context, verb string, w admin.CareWish) (admin.CareAnswer, error) {
	var a admin.CareAnswer
	err := c.post(ctx, "/api/v1/store/"+verb, w, &a)
	return a, err
}

// StoreState is how the store of each node is, and how what runs there goes.
func (c *Client) StoreState(ctx context.Context) (admin.CareAnswer, error) {
	var a admin.CareAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/store"}, &a)
	return a, err
}
