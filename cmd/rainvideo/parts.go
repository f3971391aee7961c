package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"rain/cmd/internal/client"
	"rain/snow/admin"
)

// source gives a film part by part; fetch may be called by many at once.
type source interface {
	parts() int64
	fetch(ctx context.Context, n int64) part
}

// part is a piece of the film: some blocks of it.
type part struct {
	off           int64
	block, blocks int64
	body          []byte
	from          []origin
	err           error
}

// origin is who sent a column of a part.
type origin struct {
	Node   string `json:"node"`
	Column int    `json:"column"` // -1: the node sent the bytes themselves
}

func (o origin) String() string {
	if o.Column < 0 {
		return o.Node
	}
	return fmt.Sprintf("%s:%d", o.Node, o.Column)
}

// partLine is what --json prints of a part.
type partLine struct {
	API    int      `json:"api"`
	Block  int64    `json:"block"`
	Blocks int64    `json:"blocks"`
	Offset int64    `json:"offset"`
	Bytes  int      `json:"bytes"`
	From   []origin `json:"from"`
}

// copyParts writes the film to out, in order, and tells told of each part. A few
// parts are on their way at once.
func copyParts(ctx context.Context, from source, out io.Writer, v admin.Video, told func(part) error) error {
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan chan part, partsAhead)
	ended := make(chan struct{})
	go func() { // it ends with its queue or its context, and is waited for below
		defer close(ended)
		defer close(queue)
		for n := range from.parts() {
			one := make(chan part, 1)
			select {
			case queue <- one:
			case <-ctx.Done():
				return
			}
			go func() { one <- from.fetch(ctx, n) }() // bounded by the queue; ends with ctx
		}
	}()
	defer func() {
		cancel()
		for one := range queue {
			<-one
		}
		<-ended
	}()
	sum := sha256.New()
	for one := range queue {
		got := <-one
		if got.err != nil {
			return got.err
		}
		if err := told(got); err != nil {
			return fmt.Errorf("rainvideo: tell where a part came from: %w", err)
		}
		sum.Write(got.body)
		if _, err := out.Write(got.body); err != nil {
			if stopped := ctx.Err(); stopped != nil && errors.Is(err, stopped) {
				break // check says so
			}
			return fmt.Errorf("rainvideo: write the film: %w", err)
		}
	}
	return check(ctx, sum, v)
}

// whole reads a film that is too small to be striped, from whichever node.
type whole struct {
	c       *client.Client
	v       admin.Video
	session string
}

func (w whole) parts() int64 { return min(w.v.Size, 1) }

func (w whole) fetch(ctx context.Context, _ int64) part {
	out := part{blocks: 1}
	for until := time.Now().Add(giveUp); ; {
		body, node, err := w.c.ReadPart(ctx, w.session, w.v.Object, 0, w.v.Size, 0, patience)
		out.body, out.from, out.err = body, []origin{{node, -1}}, err
		var e *client.Error
		if err == nil || ctx.Err() != nil || time.Now().After(until) || errors.As(err, &e) && (e.Status == 404 || e.Status == 401) {
			return out
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
