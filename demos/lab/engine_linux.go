package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rain/demos/lab/box"
	"rain/demos/lab/engine"
	"rain/demos/lab/plan"
)

// Run is the laboratory itself: process 1 of its namespaces.
func (c *engineCmd) Run(ctx context.Context, _ io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("lab: engine is started by 'lab up'")
	}
	text, err := os.ReadFile(c.Topology)
	if err != nil {
		return err
	}
	p, err := plan.Parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Topology, err)
	}
	program, err := exec.LookPath(c.Program)
	if err == nil {
		program, err = filepath.Abs(program) // nodes run in folders of their own
	}
	if err != nil {
		return err
	}
	if err := ownProc(); err != nil {
		return err
	}
	for _, s := range []string{engine.Socket(c.Dir), engine.NamespaceSocket(c.Dir)} {
		if err := os.Remove(s); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	reaper := box.NewReaper()
	var reaping sync.WaitGroup
	defer reaping.Wait()
	children := make(chan os.Signal, 16)
	signal.Notify(children, syscall.SIGCHLD)
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	reaping.Go(func() { reap(ctx, reaper, children, log) })
	l, err := engine.Start(ctx, engine.Config{Plan: p, Dir: c.Dir, Program: program, Seed: c.Seed, Empty: c.Empty}, reaper, log)
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	reaping.Go(func() { served <- l.Serve(ctx) })
	select {
	case err = <-served:
	case err = <-l.Failed():
	}
	cancel()
	return err
}

func reap(ctx context.Context, r *box.Reaper, children <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-children:
			if err := r.Reap(); err != nil {
				log.Error("waiting for children", slog.Any("err", err))
			}
		}
	}
}

// ownProc shows the processes of this PID namespace in /proc, here alone.
func ownProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("lab: mounts of our own: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("lab: /proc of our own: %w", err)
	}
	return nil
}
