//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// upgrade runs a cluster of the program -old and puts -exe into its place, node by
// node, under load: nodes of two releases are one ring meanwhile. The first one
// that was upgraded is then stopped and started once more among old ones.
func upgrade(ctx context.Context, o options) error {
	if o.old == "" {
		return fmt.Errorf("upgrade needs -old, the program of an earlier release")
	}
	dir, err := os.MkdirTemp("", "rain-upgrade-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	next := o.exe
	o.exe = filepath.Join(dir, "rainvideo")
	if err := install(o.old, o.exe); err != nil {
		return err
	}
	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer c.stop()
	st, err := c.status(ctx, c.file.Nodes[0])
	if err != nil {
		return err
	}
	old := st.Ring.MaxVersion
	err = asked(ctx, o, "upgrade of 4 nodes, one by one", c.file.VIPs, func() error {
		if err := install(next, o.exe); err != nil { // running nodes keep the old file
			return err
		}
		for i, n := range c.file.Nodes {
			for range map[bool]int{true: 2, false: 1}[i == 0] {
				if err := c.control(n.Name, "stop"); err != nil {
					return err
				}
				if err := c.start(ctx, n.Name); err != nil {
					return err
				}
				if err := c.whole(ctx); err != nil {
					return err
				}
				if err := c.versions(ctx, i+1, old); err != nil {
					return err
				}
			}
			sleep(ctx, 500*time.Millisecond)
		}
		return nil
	})
	return err
}

// versions looks at what the first node says of the ring after so many upgrades
// from a program that speaks old at most: until the last one that is what all speak.
func (c *cluster) versions(ctx context.Context, upgraded, old int) error {
	for range 50 {
		st, err := c.status(ctx, c.file.Nodes[0])
		if err == nil && (st.Ring.Version < st.Ring.MaxVersion) == (upgraded < len(c.file.Nodes) && old < st.Ring.MaxVersion) {
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	st, err := c.status(ctx, c.file.Nodes[0])
	return fmt.Errorf("after %d upgrades the ring speaks version %d of at most %d (%v)", upgraded, st.Ring.Version, st.Ring.MaxVersion, err)
}

// install puts a copy of a program into a place, by rename: who runs the old one
// goes on with it.
func install(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := to + ".new"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}
