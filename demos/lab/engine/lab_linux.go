package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"rain/demos/lab/box"
	"rain/demos/lab/fabric"
	"rain/demos/lab/plan"
)

// Config says what to run.
type Config struct {
	Plan    *plan.Plan
	Dir     string // of the nodes' files and logs
	Program string // that runs a node: rainvideo or snow
	Seed    uint64 // of all chance in the net
	Empty   bool   // start no node
}

// Lab is a running laboratory.
type Lab struct {
	cfg     Config
	log     *slog.Logger
	cluster ClusterFile
	pump    *pump
	reaper  *box.Reaper
	watch   *observer
	hosts   []*host
	workers sync.WaitGroup
	stop    context.CancelFunc
	failed  chan error

	mu   sync.Mutex  // of the hosts' processes, and:
	deaf [][2]string // hosts of which the second does not hear the first
}

type host struct {
	plan  *plan.Host
	box   *box.Box
	ports []int // in the fabric
	proc  *box.Process
	state string // running, frozen, crashed, down, idle
}

// Start builds everything and starts the nodes.
func Start(ctx context.Context, cfg Config, reaper *box.Reaper, log *slog.Logger) (l *Lab, err error) {
	ctx, stop := context.WithCancel(ctx)
	l = &Lab{cfg: cfg, log: log, reaper: reaper, stop: stop, failed: make(chan error, 64)}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	l.workers.Go(func() { l.keepPace(ctx) })
	net, err := l.weave()
	if err != nil {
		return l, err
	}
	l.pump = newPump(net)
	if l.cluster, err = writeNodes(cfg.Dir, cfg.Plan); err != nil {
		return l, fmt.Errorf("lab: %w", err)
	}
	for i := range cfg.Plan.Hosts {
		if err := l.addHost(&cfg.Plan.Hosts[i]); err != nil {
			return l, err
		}
	}
	l.observe(ctx)
	if err := l.read(); err != nil {
		return l, err
	}
	if cfg.Empty {
		return l, nil
	}
	for _, h := range l.hosts {
		if h.plan.Node {
			if err := l.start(h); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// weave makes the net of the plan: ports in the order of hosts, the observer last.
func (l *Lab) weave() (*fabric.Net, error) {
	n, p := fabric.New(l.cfg.Seed), l.cfg.Plan
	var errs []error
	for _, s := range p.Switches {
		errs = append(errs, n.AddSwitch(s))
	}
	for _, t := range p.Trunks {
		errs = append(errs, n.AddTrunk(t[0], t[1]))
	}
	for _, h := range p.Hosts {
		for _, port := range h.Ports {
			_, err := n.AddPort(port.Name, port.Cable, port.Switch)
			errs = append(errs, err)
		}
	}
	if p.Rate > 0 {
		for _, h := range p.Hosts {
			for _, port := range h.Ports {
				errs = append(errs, n.Change(port.Cable, false, func(i *fabric.Impairment) { i.Rate = p.Rate }))
			}
		}
		n.Sound()
	}
	_, err := n.AddPort("observer.0", "observer-"+p.Switches[0], p.Switches[0])
	return n, errors.Join(append(errs, err)...)
}

func (l *Lab) addHost(p *plan.Host) error {
	b, err := box.New(p)
	if err != nil {
		return err
	}
	h := &host{plan: p, box: b, state: "idle"}
	l.hosts = append(l.hosts, h)
	for _, t := range b.Taps {
		port := len(l.pump.sinks)
		h.ports = append(h.ports, port)
		l.pump.attach(func(frame []byte) {
			// A host that does not take its frames, or has its plug out, loses them.
			_, _ = t.Write(frame)
		})
	}
	return nil
}

// read carries what all hosts send, once every port has its sink.
func (l *Lab) read() error {
	var taps []tapPort
	for _, h := range l.hosts {
		for j, t := range h.box.Taps {
			taps = append(taps, tapPort{t, h.ports[j]})
		}
	}
	return l.pump.run(taps, func(err error) { l.failed <- err })
}

func (l *Lab) observe(ctx context.Context) {
	l.watch = &observer{pump: l.pump, port: len(l.pump.sinks)}
	for _, v := range l.cfg.Plan.VIPs() {
		l.watch.vips = append(l.watch.vips, v.Addr())
	}
	l.pump.attach(l.watch.take)
	if len(l.watch.vips) > 0 {
		l.workers.Go(func() { l.watch.run(ctx) })
	}
}

// start runs the node of a host.
func (l *Lab) start(h *host) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.proc != nil {
		select {
		case <-h.proc.Done():
		default:
			return fmt.Errorf("lab: the node of %s runs already", h.plan.Name)
		}
	}
	dir := filepath.Join(l.cfg.Dir, h.plan.Name)
	log, err := os.OpenFile(filepath.Join(dir, "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() { _ = log.Close() }() // the node has its own
	argv := []string{l.cfg.Program, "run", "--config", filepath.Join(dir, "node.toml")}
	if h.proc, err = l.reaper.Start(h.box, argv, dir, os.Environ(), log); err != nil {
		return err
	}
	h.state = "running"
	l.log.Info("node started", slog.String("host", h.plan.Name), slog.Int("pid", h.proc.PID))
	return nil
}

// Failed tells of parts that ended on their own.
func (l *Lab) Failed() <-chan error { return l.failed }

// Close ends all nodes, hosts and the net.
func (l *Lab) Close() {
	l.stop()
	if l.pump != nil {
		l.pump.stop()
	}
	for _, h := range l.hosts {
		h.box.Close() // its processes get SIGKILL with their thread
	}
	l.workers.Wait()
}

func (l *Lab) host(name string) (*host, error) {
	i := slices.IndexFunc(l.hosts, func(h *host) bool { return h.plan.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("lab: no host %q", name)
	}
	return l.hosts[i], nil
}

// Node crashes, freezes, thaws, starts or stops the node of a host, or crashes
// or starts a switch.
func (l *Lab) Node(verb, name string) error {
	if slices.Contains(l.cfg.Plan.Switches, name) {
		return l.switches(verb, name)
	}
	h, err := l.host(name)
	if err != nil {
		return fmt.Errorf("%w, and no switch; switches are %s", err, strings.Join(l.cfg.Plan.Switches, ", "))
	}
	signals := map[string]struct {
		signal syscall.Signal
		state  string
	}{
		"crash": {syscall.SIGKILL, "crashed"}, "freeze": {syscall.SIGSTOP, "frozen"},
		"thaw": {syscall.SIGCONT, "running"}, "stop": {syscall.SIGTERM, "down"},
	}
	if verb == "start" {
		return l.start(h)
	}
	s, ok := signals[verb]
	if !ok {
		return fmt.Errorf("lab: no verb %q", verb)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.proc == nil {
		return fmt.Errorf("lab: %s runs no node", name)
	}
	if err := h.proc.Signal(s.signal); err != nil {
		return err
	}
	h.state = s.state
	if verb != "crash" {
		return nil
	}
	select { // so that a start that follows finds it gone
	case <-h.proc.Done():
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("lab: the node of %s did not end within 5s of SIGKILL", name)
	}
}

func (l *Lab) switches(verb, name string) error {
	if verb != "crash" && verb != "start" {
		return fmt.Errorf("lab: a switch can only crash and start")
	}
	if err := l.pump.edit(func(n *fabric.Net) error { return n.Switch(name, verb == "crash") }); err != nil {
		return err
	}
	return l.plugs()
}

// Pair cuts or mends what a host hears of another one: link is like n1-n2. It
// reports whether both are hosts.
func (l *Lab) Pair(link string, oneWay, cut bool) bool {
	a, b, _ := strings.Cut(link, "-")
	from, err := l.host(a)
	to, err2 := l.host(b)
	if err != nil || err2 != nil || from == to {
		return false
	}
	_ = l.pump.edit(func(n *fabric.Net) error {
		for _, p := range from.ports {
			for _, q := range to.ports {
				n.Deafen(p, q, cut)
				if !oneWay {
					n.Deafen(q, p, cut)
				}
			}
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = slices.DeleteFunc(l.deaf, func(d [2]string) bool {
		return d == [2]string{a, b} || !oneWay && d == [2]string{b, a}
	})
	if cut {
		l.deaf = append(l.deaf, [2]string{a, b})
		if !oneWay {
			l.deaf = append(l.deaf, [2]string{b, a})
		}
	}
	return true
}

// Mend makes a cable or trunk as it was in the beginning.
func (l *Lab) Mend(link string, oneWay bool) error {
	if err := l.pump.edit(func(n *fabric.Net) error { return n.Mend(link, oneWay) }); err != nil {
		return err
	}
	return l.plugs()
}

// Change edits a cable or trunk.
func (l *Lab) Change(link string, oneWay bool, edit func(*fabric.Impairment)) error {
	if err := l.pump.edit(func(n *fabric.Net) error { return n.Change(link, oneWay, edit) }); err != nil {
		return err
	}
	return l.plugs()
}

// Heal undoes all faults of the net; nodes stay as they are.
func (l *Lab) Heal() error {
	if err := l.pump.edit(func(n *fabric.Net) error { n.Heal(); return nil }); err != nil {
		return err
	}
	l.mu.Lock()
	l.deaf = nil
	l.mu.Unlock()
	return l.plugs()
}

// plugs shows the hosts which of their cables have a signal.
func (l *Lab) plugs() error {
	var errs []error
	for _, h := range l.hosts {
		for j, t := range h.box.Taps {
			on := false
			err := l.pump.edit(func(n *fabric.Net) error { on = n.Carrier(h.ports[j]); return nil })
			errs = append(errs, err, t.Carrier(on))
		}
	}
	return errors.Join(errs...)
}

// Capture writes what a port (n1.0) sends and gets into a pcap file; an empty
// path ends it.
func (l *Lab) Capture(port, path string) error {
	for _, h := range l.hosts {
		for j, p := range h.plan.Ports {
			if p.Name == port {
				return l.capture(h.ports[j], path)
			}
		}
	}
	return fmt.Errorf("lab: no port %q", port)
}

func (l *Lab) capture(port int, path string) error {
	var next *capture
	if path != "" {
		var err error
		if next, err = newCapture(path); err != nil {
			return err
		}
	}
	l.pump.mu.Lock()
	last := l.pump.taps[port]
	if l.pump.taps[port] = next; next == nil {
		delete(l.pump.taps, port)
	}
	l.pump.mu.Unlock()
	if last != nil {
		return last.close()
	}
	return nil
}
