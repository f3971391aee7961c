package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/program"
)

// The states of a node's process.
const (
	running = "running"
	frozen  = "frozen"
	stopped = "stopped" // exited with 0, or never started
	crashed = "crashed" // killed, or exited with another code
)

// stopGrace is how long the nodes may take to drain at the demo's end. They
// all go at once, so the last ones have nobody to hand over to.
const stopGrace = 5 * time.Second

// proc is one node's process, through all its lives.
type proc struct {
	demo  *demo
	addrs nodeAddrs
	dir   string
	argv  []string

	mu    sync.Mutex
	state string
	p     *os.Process   // nil unless running or frozen
	guard int           // pid of its guard, 0 if there is none
	gone  chan struct{} // closed when p has ended; nil if it is not our child
	exit  int           // code of the last life that was our child
	pipe  io.Closer     // its standard input, where a node watches it
}

func (p *proc) log() string { return filepath.Join(p.dir, "node.log") }

// start runs the node. It is an error if it runs.
func (p *proc) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p != nil {
		return cli.New(cli.Conflict, "conflict", "crash or stop it first", "demo: node %s is %s", p.addrs.name, p.state)
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("demo: log of %s: %w", p.addrs.name, err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, childAttr()
	// For the node's page: from there one starts and thaws nodes.
	cmd.Env = append(os.Environ(), "RAIN_DEMO_CONTROL=http://"+p.demo.net.control.String())
	if needsPipe {
		cmd.Env = append(cmd.Env, program.ParentPipe+"=1")
		if p.pipe, err = cmd.StdinPipe(); err != nil {
			return fmt.Errorf("demo: start %s: %w", p.addrs.name, err)
		}
	}
	if err := p.demo.spawn.start(cmd); err != nil {
		return fmt.Errorf("demo: start %s: %w", p.addrs.name, err)
	}
	gone := make(chan struct{})
	p.p, p.gone, p.state = cmd.Process, gone, running
	p.demo.notify()
	go func() { // ends with the process; stopAll waits for gone
		defer close(gone)
		_ = cmd.Wait() // the state says it all
		p.ended(cmd.Process, cmd.ProcessState.ExitCode())
	}()
	return nil
}

// ended notes the end of a life.
func (p *proc) ended(was *os.Process, code int) {
	p.mu.Lock()
	if p.p == was {
		p.p, p.guard, p.exit, p.state = nil, 0, code, crashed
		if code == 0 {
			p.state = stopped
		}
		if p.pipe != nil {
			p.pipe.Close()
		}
	}
	p.mu.Unlock()
	select {
	case p.demo.dying <- p:
	default:
	}
	p.demo.notify()
}

// command does one of the control verbs to the process itself, not its guard.
// After a crash of our own child it is gone, so that it can be started again.
func (p *proc) command(verb string) error {
	gone, err := p.signal(verb)
	if err == nil && verb == "crash" && gone != nil {
		<-gone // a killed process ends, however long the system takes for it
	}
	return err
}

func (p *proc) signal(verb string) (gone <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p == nil {
		return nil, cli.New(cli.Conflict, "conflict", "start it first", "demo: node %s is %s", p.addrs.name, p.state)
	}
	switch verb {
	case "crash":
		err = p.p.Kill()
	case "freeze":
		if err = freeze(p.p); err == nil {
			p.state = frozen
		}
	case "thaw":
		if err = thaw(p.p); err == nil {
			p.state = running
		}
	case "stop":
		err = terminate(p.p, p.pipe)
	default:
		return nil, cli.New(cli.NotFound, "not_found", "crash, freeze, thaw, stop or start", "demo: no verb %q", verb)
	}
	if err != nil {
		return nil, fmt.Errorf("demo: %s %s: %w", verb, p.addrs.name, err)
	}
	p.demo.notify()
	return p.gone, nil
}

// observe looks at what others did to the process: froze or thawed it, ran its
// argv, killed it. It reports a change.
func (p *proc) observe() bool {
	p.mu.Lock()
	proc, mine := p.p, p.gone != nil
	p.mu.Unlock()
	if proc == nil {
		pid := findNode(p.argv[3])
		if pid == 0 {
			return false
		}
		other, err := os.FindProcess(pid)
		if err != nil {
			return false
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.p != nil {
			return false
		}
		p.p, p.gone, p.state = other, nil, running
		return true
	}
	alive, isFrozen := look(proc.Pid)
	guard := guardOf(proc.Pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p != proc {
		return false
	}
	before, beforeGuard := p.state, p.guard
	switch {
	case !alive && !mine:
		p.p, p.state, guard = nil, stopped, 0 // how it ended only its parent knows
	case alive && isFrozen:
		p.state = frozen
	case alive:
		p.state = running
	}
	p.guard = guard
	return p.state != before || guard != beforeGuard
}

// monitor keeps the states true until ctx is done.
func (d *demo) monitor(ctx context.Context) {
	if !canLook {
		return
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range d.procs {
			if p.observe() {
				d.notify()
			}
		}
	}
}

// stopAll ends every node: TERM, and KILL for those that do not drain in time.
// When it returns none of them and of their guards is left.
func (d *demo) stopAll() {
	var waits []chan struct{}
	var others []int // guards, and nodes that somebody else started
	for _, p := range d.procs {
		p.mu.Lock()
		if p.p != nil {
			_ = thaw(p.p) // a frozen one hears no TERM
			_ = terminate(p.p, p.pipe)
			if p.gone != nil {
				waits = append(waits, p.gone)
			} else {
				others = append(others, p.p.Pid)
			}
		}
		if p.guard != 0 {
			others = append(others, p.guard)
		}
		p.mu.Unlock()
	}
	late := time.NewTimer(stopGrace)
	defer late.Stop()
	for _, gone := range waits {
		select {
		case <-gone:
		case <-late.C:
			late.Reset(0) // and so for all that follow
			for _, p := range d.procs {
				p.mu.Lock()
				if p.p != nil {
					_ = p.p.Kill()
				}
				p.mu.Unlock()
			}
			<-gone
		}
	}
	// A guard ends when it sees its node gone, within milliseconds.
	for end := time.Now().Add(stopGrace); len(others) > 0 && time.Now().Before(end); {
		if alive, _ := look(others[0]); !alive {
			others = others[1:]
			continue
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range d.procs {
		p.mu.Lock()
		if p.p != nil && p.gone == nil {
			if alive, _ := look(p.p.Pid); !alive {
				p.p, p.guard, p.state = nil, 0, stopped
			}
		}
		p.mu.Unlock()
	}
	if _, err := os.Stat(filepath.Join(d.dir, "demo.json")); err == nil {
		if err := d.writeFile(); err != nil { // all stopped, for a DIR that is kept
			fmt.Fprintf(d.o.Stderr, "%v\n", err)
		}
	}
}

// spawner starts children from one thread that lives as long as it: Linux kills
// a child with Pdeathsig when the thread that made it ends, not the process.
type spawner struct {
	work chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	res := make(chan error, 1)
	s.work <- func() { res <- cmd.Start() }
	return <-res
}

func (s *spawner) close() {
	close(s.work)
	<-s.done
}
