//go:build linux

// Command trial measures what the README promises, on a demo of its own with
// real processes and sockets: gaps of a client that never retries, requests in
// a frozen node's backlog, every pair of nodes killed, and puts through random
// kills. It is for developers; results go to stdout, a broken promise exits 1.
//
//	trial gaps    [-preset laptop] [-n 10]     SIGKILL, SIGSTOP, TERM of the holder
//	trial backlog [-n 10]                      freeze, ask, thaw: who answered?
//	trial pairs                                all pairs, one after the other and at once
//	trial puts    [-n 10000] [-kills 50]       no acknowledged put is lost
//	trial effects [-n 10000] [-kills 50]       each guestbook post exactly once, and what a post costs
//	trial register [-n 20000] [-kills 30]      objects are linearizable (Porcupine); histories kept
//	trial queue [-n 1000]                      what the request queue costs; who claims a dead node's requests
//	trial idle    [-n 10] [-nodes 16]          CPU, memory and hops of an idle cluster, n seconds
//	trial busy    [-n 20] [-only wrk]          the ring under wrk, under puts of 64 MiB, n seconds each, and under one put of 150 MiB
//	trial hops    [-n 3]                       a token's hop beside a bare UDP ping-pong
//	trial objects [-size 256]                  a large object, every pair of nodes dead in turn
//	trial frozen  [-n 750]                     gets of 1 MiB while a node is stopped
//	trial emptied [-size 256]                  a node's disk emptied under load
//	trial streams [-n 20] [-size 1024]         memory of a node that streams large objects
//	trial churn   [-kills 20]                  gets of striped objects while nodes come and go
//	trial rolling [-n 1] [-rate 1000]          each node stopped and started, under load
//	trial cold    [-n 100] [-span 2m]          all nodes killed at once amid puts, and started
//	trial grow    [-n 6] [-rate 1000]          rainctl init, invite, join to n nodes, leave to one, under load
//	trial upgrade -old FILE [-rate 1000]       a cluster of an earlier release, upgraded node by node under load
//
// Sizes are in MiB. The clusters' disks are in $TMPDIR: /dev/shm leaves the disk
// out of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "trial:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == echoArg {
		return echo(len(args) > 1)
	}
	trials := map[string]func(context.Context, *cluster, options) error{
		"gaps": gaps, "backlog": backlog, "pairs": pairs, "puts": puts, "idle": idle,
		"objects": objects, "frozen": frozen, "emptied": emptied, "streams": streams, "churn": churn,
		"effects": effects, "register": register, "queue": requests, "busy": busy, "hops": hops,
		"rolling": rolling, "cold": cold,
	}
	if len(args) == 0 || trials[args[0]] == nil && args[0] != "grow" && args[0] != "upgrade" {
		return fmt.Errorf("which trial? gaps, backlog, pairs, puts, effects, register, queue, idle, busy, hops, objects, frozen, emptied, streams, churn, rolling, cold, grow or upgrade")
	}
	var o options
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.StringVar(&o.preset, "preset", "laptop", "the ring's times")
	fs.StringVar(&o.only, "only", "", "gaps: this fault alone: SIGKILL, SIGSTOP or TERM; busy: this load alone: wrk, puts or put")
	fs.IntVar(&o.n, "n", 0, "repeats or puts; 0: the trial's own number")
	fs.IntVar(&o.kills, "kills", 50, "kills during puts")
	fs.StringVar(&o.exe, "exe", "bin/rainvideo", "the program under trial")
	fs.StringVar(&o.ctl, "ctl", "bin/rainctl", "rainctl")
	fs.Int64Var(&o.size, "size", 0, "of objects, MiB; 0: the trial's own size")
	fs.BoolVar(&o.json, "json", false, "print results of the storage trials as JSON")
	fs.StringVar(&o.detection, "detection", "", "busy: conservative or aggressive; without it the program's own")
	fs.IntVar(&o.nodes, "nodes", 4, "how many nodes the cluster has; trials that kill want four")
	fs.IntVar(&o.port, "port", 21080, "first of the ports to use")
	fs.StringVar(&o.out, "out", os.TempDir(), "folder for what a trial keeps")
	fs.StringVar(&o.old, "old", "", "the program of an earlier release")
	fs.IntVar(&o.rate, "rate", 1000, "requests a second")
	fs.DurationVar(&o.span, "span", 0, "most time of cold; 0: no limit")
	fs.Uint64Var(&o.seed, "seed", 1, "of the trial's own chance")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] { // these make their own nodes
	case "grow":
		return grow(ctx, o)
	case "upgrade":
		return upgrade(ctx, o)
	}
	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer c.stop()
	return trials[args[0]](ctx, c, o)
}

type options struct {
	preset, exe, ctl, out string
	only                  string // gaps: this fault alone; busy: this load
	old, detection        string
	n, kills, port, nodes int
	seed                  uint64
	size                  int64
	json                  bool
	rate                  int
	span                  time.Duration
}

// sizeOr is the size of objects in MiB.
func (o options) sizeOr(own int64) int64 {
	if o.size > 0 {
		return o.size
	}
	return own
}
