package sim

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"rain/ring"
)

// Script drives a calm cluster by commands, one a line, so that a story of the
// protocol can be told and read:
//
//	cluster N [preset]     make N nodes (founders all) with exact times
//	aggressive             detection of that kind; before the first start
//	founders N             of the nodes made so far, only the first N found
//	start I... | all       start processes
//	whole                  run until one view holds all that are up
//	run D                  run for a true duration
//	holder I               run until node I holds the token
//	crash I  burn I  leave I  pause I D  stall I D (after its next step)
//	cut I J  part I...  heal
//	lose I J  loseack I J  delay I J D   the next token from I to J
//	hang I  unhang I       the disk of I syncs nothing
//	propose I TEXT [durable] [all]   own I X   free I X
//	show | hide            hops of the token in the trace
type Script struct {
	c   *Cluster
	out io.Writer
	// fates are what happens to the next token between two nodes.
	fates map[[2]int]func(*packet)
}

// NewScript makes a script that writes its trace to out.
func NewScript(out io.Writer) *Script {
	return &Script{out: out, fates: map[[2]int]func(*packet){}}
}

// Do runs one command.
func (s *Script) Do(line string) error {
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil
	}
	if f[0] == "cluster" {
		return s.cluster(f[1:])
	}
	if s.c == nil {
		return fmt.Errorf("sim: %q before cluster", line)
	}
	var ints []int
	for _, a := range f[1:] {
		if n, err := strconv.Atoi(a); err == nil {
			ints = append(ints, n)
		}
	}
	err := s.command(f, ints)
	if err == nil && s.c.err != nil {
		err = s.c.err
	}
	if err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return nil
}

func (s *Script) cluster(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	preset := "lan"
	if len(args) > 1 {
		preset = args[1]
	}
	timing, ok := ring.Preset(preset)
	if !ok {
		return fmt.Errorf("sim: no preset %q", preset)
	}
	timing.ColdAfter = time.Second
	s.c = New(1, Calm(n, timing), s.out)
	s.c.verbose, s.c.hops = false, false
	s.c.hook = func(p *packet, _ ring.Message) {
		if fate := s.fates[[2]int{p.src, p.dst}]; fate != nil && p.token {
			delete(s.fates, [2]int{p.src, p.dst})
			fate(p)
		}
	}
	return nil
}

func (s *Script) command(f []string, ints []int) error {
	c := s.c
	node := func(k int) *node { return c.nodes[ints[k]-1] }
	switch f[0] {
	case "aggressive":
		c.opt.Aggressive = true
	case "founders":
		for _, n := range c.nodes {
			n.founders = n.peers[:ints[0]]
		}
	case "start":
		for _, n := range c.nodes {
			if f[1] == "all" || contains(ints, n.i+1) {
				c.start(n)
			}
		}
	case "force":
		node(0).force = true
		c.start(node(0))
	case "whole":
		return s.until(c.Whole, "one view of all")
	case "run":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		return c.Run(d)
	case "holder":
		return s.until(func() bool { return node(0).seen.Holding }, "the token there")
	case "crash":
		c.crash(node(0))
	case "burn":
		c.burn(node(0))
	case "leave":
		c.leave(node(0))
	case "show", "hide":
		c.hops = f[0] == "show"
	case "hang", "unhang":
		node(0).hung = f[0] == "hang"
		if f[0] == "unhang" && node(0).up {
			c.startSync(node(0))
		}
	case "own":
		c.propose(node(0), &proposal{rider: ring.RiderVIP, data: []byte{opOwn, byte(ints[1])}})
	case "free":
		c.release(node(0), ints[1])
	case "propose":
		c.propose(node(0), &proposal{
			rider: ring.RiderSettings, data: []byte(f[2]), durable: contains(f[3:], "durable"), all: contains(f[3:], "all"),
		})
	default:
		return s.fault(f, ints)
	}
	return nil
}

// fault runs the commands that break the network or freeze a process.
func (s *Script) fault(f []string, ints []int) error {
	c := s.c
	var d time.Duration
	if last := f[len(f)-1]; f[0] == "pause" || f[0] == "stall" || f[0] == "delay" {
		var err error
		if d, err = time.ParseDuration(last); err != nil {
			return err
		}
	}
	switch f[0] {
	case "pause":
		c.pause(c.nodes[ints[0]-1], int64(d))
	case "stall":
		c.nodes[ints[0]-1].stall = int64(d)
	case "cut":
		c.cutFor(ints[0]-1, ints[1]-1, int64(time.Hour))
	case "part":
		var mask uint64
		for _, i := range ints {
			mask |= 1 << (i - 1)
		}
		c.partition(mask, int64(time.Hour))
	case "heal":
		c.tracef(-1, "all heals")
		for i := range c.cut {
			clear(c.cut[i])
		}
	case "lose", "loseack", "delay":
		s.fates[[2]int{ints[0] - 1, ints[1] - 1}] = func(p *packet) {
			switch f[0] {
			case "lose":
				p.late = time.Hour
			case "loseack":
				p.ackLost = true
			case "delay":
				p.late = d
			}
			c.tracef(p.src, "token to n%d: %s", p.dst+1, strings.Join(f, " "))
		}
	default:
		return fmt.Errorf("sim: no such command")
	}
	return nil
}

// until runs event by event until done.
func (s *Script) until(done func() bool, what string) error {
	c := s.c
	end := c.now + int64(20*time.Second)
	for !done() && c.err == nil {
		if len(c.heap.e) == 0 || c.now > end {
			return fmt.Errorf("sim: invariant 6 (liveness) broken: not within 20s: %s%s", what, c.states())
		}
		ev := c.heap.pop()
		c.now = max(c.now, ev.at)
		c.dispatch(ev)
	}
	return nil
}

func contains[T comparable](l []T, x T) bool {
	for _, y := range l {
		if x == y {
			return true
		}
	}
	return false
}
