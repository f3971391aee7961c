package main

import (
	"context"
	"io"
)

// stoppable is a writer whose Write ends with its context, also while what it
// writes to takes nothing: a pipe that is full and that nobody reads. A write that
// hangs then is left behind, for the process's end; nothing is written after it.
type stoppable struct {
	ctx context.Context
	to  io.Writer
}

func newStoppable(ctx context.Context, to io.Writer) *stoppable {
	return &stoppable{ctx: ctx, to: to}
}

type wrote struct {
	n   int
	err error
}

// Write waits for the bytes to be taken, or for the context's end. p must not be
// changed afterwards: a write that is left behind has it still.
func (w *stoppable) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	done := make(chan wrote, 1)
	go func() { // ends with the write; one that hangs ends with the process
		n, err := w.to.Write(p)
		done <- wrote{n, err}
	}()
	select {
	case d := <-done:
		return d.n, d.err
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	}
}
