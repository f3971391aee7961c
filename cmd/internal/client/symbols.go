package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rain/snow/admin"
)

// Plan says how an object named BUCKET/KEY is cut and where its columns lie.
func (c *Client) Plan(ctx context.Context, object string) (admin.PlanAnswer, error) {
	bucket, key, _ := strings.Cut(object, "/")
	var a admin.PlanAnswer
	err := c.call(ctx, request{method: "GET", path: objectPath(bucket, key) + "?plan"}, &a)
	if err == nil && len(a.Columns) > 0 {
		for i := range a.Columns { // what the cluster file says of a node goes first
			if at := c.nodes[a.Columns[i].Node]; at != "" {
				a.Columns[i].Admin = at
			}
		}
	}
	return a, err
}

// ReadSymbols fills buf from off on of a symbol file, from the node with the
// admin address; nobody else is asked. A node that is silent costs patience.
func (c *Client) ReadSymbols(ctx context.Context, at, body string, part, column int, off int64, buf []byte, patience time.Duration) (err error) {
	n := c.at(strings.TrimRight(at, "/"))
	n.Timeout = patience
	a, err := n.do(ctx, request{
		method: "GET", path: "/api/v1/symbols/" + url.PathEscape(body) + "/" + strconv.Itoa(part) + "/" + strconv.Itoa(column),
		header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+int64(len(buf))-1)}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Body.Close()); a.idle.stop() }()
	if a.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("client: %s sent all of a symbol file; a range was asked for", at)
	}
	if got, err := io.ReadFull(&touching{a.Body, a.idle}, buf); err != nil {
		return fmt.Errorf("client: %s: %d of %d bytes of column %d: %w", at, got, len(buf), column, err)
	}
	return nil
}
