package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"rain/assets"
	"rain/cmd/internal/client"
	"rain/cmd/internal/demo"
	"rain/cmd/internal/program"
)

// Demo is the command demo.
type Demo struct {
	Nodes     int           `default:"4" help:"How many nodes, 1 to 16."`
	VIPs      int           `name:"vips" default:"2" help:"How many virtual addresses."`
	Preset    string        `default:"laptop" help:"The ring's times: lan, fast or laptop."`
	Dir       string        `placeholder:"DIR" help:"Keep all files here and start from them next time; without it a temporary folder goes at the end."`
	Port      int           `default:"8080" help:"HTTP port of the nodes and the virtual addresses."`
	AdminPort int           `default:"8081" help:"Port of the admin addresses and the control address."`
	RingPort  int           `default:"7400" help:"Port of the ring."`
	Empty     bool          `help:"Publish nothing."`
	RunFor    time.Duration `placeholder:"DURATION" help:"End by itself after this long."`
	JSON      bool          `name:"json" help:"Print demo.json on one line when ready."`
}

// Run runs the demo until TERM, INT or the end of its time. A second signal
// ends it at once, and the nodes with it.
func (c *Demo) Run(env *program.Env) error {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return fmt.Errorf("demo: find this program to run it as a node: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal does what it always does
	return demo.Run(ctx, demo.Options{
		Nodes: c.Nodes, VIPs: c.VIPs, Preset: c.Preset, Dir: c.Dir,
		Port: c.Port, AdminPort: c.AdminPort, RingPort: c.RingPort,
		Empty: c.Empty, RunFor: c.RunFor, JSON: c.JSON,
		Exe: exe, Site: assets.DemoSite(), Publish: publish, PublishFilm: publishFilm,
		Stdout: env.Stdout, Stderr: env.Stderr,
	})
}

func publish(ctx context.Context, admins []string, token, host string, site fs.FS) error {
	c := client.New(admins, token)
	defer c.Close()
	return persist(ctx, func() error {
		_, err := c.PublishSite(ctx, host, site, true)
		return err
	})
}

// persist repeats what fails because the cluster is not ready for changes just
// then: on a busy machine a young ring may come apart and together again.
func persist(ctx context.Context, f func() error) error {
	for {
		err := f()
		e, ok := errors.AsType[*client.Error](err)
		if err == nil || !ok || e.Status != 0 && e.Status != 503 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// publishFilm stores the film and its poster, unless an earlier run in the same
// folder has done so.
func publishFilm(ctx context.Context, admins []string, token, name string) error {
	c := client.New(admins, token)
	defer c.Close()
	mp4 := assets.DemoFilm()
	sum := sha256.Sum256(mp4)
	if v, err := c.Video(ctx, name); err == nil && v.SHA256 == hex.EncodeToString(sum[:]) {
		return nil
	}
	err := persist(ctx, func() error {
		_, err := c.AddVideo(ctx, name, bytes.NewReader(mp4), int64(len(mp4)))
		return err
	})
	if err != nil {
		return err
	}
	poster := assets.DemoPoster()
	return persist(ctx, func() error { return c.AttachVideo(ctx, name, "poster", bytes.NewReader(poster), int64(len(poster))) })
}
