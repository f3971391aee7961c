package show

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"rain/demos/lab/plan"
	"rain/demos/lab/reach"
)

// Kind is what a fault hits.
type Kind string

// The kinds of faults.
const (
	Link      Kind = "link"      // a cable or trunk is cut
	Interface Kind = "interface" // a host's interface sends nothing any more
	Switch    Kind = "switch"    // a switch is dead
	Crash     Kind = "crash"     // a node's process is killed
	Freeze    Kind = "freeze"    // a node's process is stopped
)

// Kinds in the order of the picture.
var Kinds = []Kind{Switch, Link, Interface, Crash, Freeze}

// Config says how a Breaker behaves.
type Config struct {
	Plan              *plan.Plan
	Seed              uint64
	Least             int      // nodes that stay connected
	Near              int      // nodes that each viewer reaches directly
	Viewers           []string // hosts
	AtOnce            int      // faults at a time
	Every             time.Duration
	Shortest, Longest time.Duration // of a fault
}

// Validate finds all faults at once.
func (c Config) Validate() error {
	var errs []error
	n := len(c.Plan.Nodes())
	if c.Least < 1 || c.Least > n {
		errs = append(errs, errors.New("show: as many nodes as should stay connected are not there"))
	}
	if c.Near > n {
		errs = append(errs, errors.New("show: a viewer cannot reach more nodes than there are"))
	}
	for _, v := range c.Viewers {
		if _, ok := c.Plan.Host(v); !ok {
			errs = append(errs, errors.New("show: no host "+v))
		}
	}
	if c.AtOnce < 1 || c.Every <= 0 || c.Shortest <= 0 || c.Longest < c.Shortest {
		errs = append(errs, errors.New("show: at least one fault at a time, and times above zero"))
	}
	return errors.Join(errs...)
}

// Fault is one thing that is broken.
type Fault struct {
	What string
	Kind Kind
	From time.Duration
	To   time.Duration // when it is to be mended
}

// Action is what to do now.
type Action struct {
	Fault
	Mend bool
}

// Breaker decides. Its times are since its making.
type Breaker struct {
	cfg    Config
	rng    *rand.Rand
	broken []Fault
	next   time.Duration
	size   int // of the largest connected set
}

// NewBreaker makes a Breaker of a whole laboratory.
func NewBreaker(cfg Config) (*Breaker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Breaker{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 9)), next: cfg.Every}
	size, ok, err := b.look(nil)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("show: this net does not connect enough nodes even when it is whole")
	}
	b.size = size
	return b, nil
}

// Step says what to mend and break at a moment, and when to call it again.
func (b *Breaker) Step(now time.Duration) (acts []Action, wake time.Duration, err error) {
	b.broken = slices.DeleteFunc(b.broken, func(f Fault) bool {
		if f.To <= now {
			acts = append(acts, Action{f, true})
		}
		return f.To <= now
	})
	if len(acts) > 0 {
		if b.size, _, err = b.look(nil); err != nil {
			return nil, 0, err
		}
	}
	if now >= b.next {
		b.next = now + b.cfg.Every/2 + time.Duration(b.rng.Int64N(int64(b.cfg.Every)))
		if len(b.broken) < b.cfg.AtOnce {
			f, ok, err := b.choose(now)
			if err != nil {
				return nil, 0, err
			}
			if ok {
				acts = append(acts, Action{f, false})
			}
		}
	}
	wake = b.next
	for _, f := range b.broken {
		wake = min(wake, f.To)
	}
	return acts, wake, nil
}

// End mends all that is broken.
func (b *Breaker) End() (acts []Action) {
	for _, f := range b.broken {
		acts = append(acts, Action{f, true})
	}
	b.broken = nil
	return acts
}

// choose takes a kind, then one of that kind that may be broken.
func (b *Breaker) choose(now time.Duration) (Fault, bool, error) {
	for range 20 {
		kind := Kinds[b.rng.IntN(len(Kinds))]
		all := b.candidates(kind)
		f := Fault{What: all[b.rng.IntN(len(all))], Kind: kind, From: now}
		f.To = now + b.cfg.Shortest + time.Duration(b.rng.Int64N(int64(b.cfg.Longest-b.cfg.Shortest)+1))
		if slices.ContainsFunc(b.broken, func(o Fault) bool { return o.What == f.What }) {
			continue
		}
		size, ok, err := b.look(&f)
		if err != nil {
			return f, false, err
		}
		if ok && 2*size > b.size {
			b.broken, b.size = append(b.broken, f), size
			return f, true, nil
		}
	}
	return Fault{}, false, nil
}

func (b *Breaker) candidates(kind Kind) (out []string) {
	p := b.cfg.Plan
	switch kind {
	case Switch:
		return p.Switches
	case Crash, Freeze:
		for _, h := range p.Nodes() {
			out = append(out, h.Name)
		}
		return out
	case Link:
		for _, t := range p.Trunks {
			out = append(out, t[0]+"-"+t[1])
		}
	}
	for _, h := range p.Nodes() {
		for _, port := range h.Ports {
			out = append(out, port.Cable)
		}
	}
	return out
}

// look says how many nodes are connected with what is broken, and more, and
// whether that is enough.
func (b *Breaker) look(more *Fault) (size int, enough bool, err error) {
	net, all := reach.Faults{}, reach.Faults{}
	dead := map[string]bool{}
	note := func(f Fault) {
		all[f.What] = true
		if f.Kind == Crash || f.Kind == Freeze {
			dead[f.What] = true
		} else {
			net[f.What] = true
		}
	}
	for _, f := range b.broken {
		note(f)
	}
	if more != nil {
		note(*more)
	}
	nodes, err := reach.Direct(b.cfg.Plan, all)
	if err != nil {
		return 0, false, err
	}
	hosts, err := reach.Direct(b.cfg.Plan, net) // a viewer needs its host, not its node
	if err != nil {
		return 0, false, err
	}
	size = nodes.OneRelay().Largest()
	enough = size >= b.cfg.Least
	for _, v := range b.cfg.Viewers {
		if h, _ := b.cfg.Plan.Host(v); !h.Node {
			continue
		}
		near := 0
		for _, o := range hosts.Near(v) {
			if !dead[o] {
				near++
			}
		}
		enough = enough && near >= b.cfg.Near
	}
	return size, enough, nil
}
