package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"rain/cmd/internal/cli"
	"rain/conf"
)

// Run is the command run.
type Run struct {
	Config string `required:"" help:"The node file." type:"path" placeholder:"FILE"`
	JSON   bool   `name:"json" help:"Print a failure as JSON on stdout."`
}

// ParentPipe is the variable by which a parent asks a node to drain when its
// standard input ends: for systems where a child cannot be told otherwise that
// its parent has died.
const ParentPipe = "RAIN_PARENT_PIPE"

// grace is what a node gets beyond its drain timeout to stop.
const grace = 5 * time.Second

// Run runs a node until TERM or INT. The first one drains it, a second one
// ends the process at once with code 1. HUP reads the file again.
func (c *Run) Run(env *Env) error {
	f, err := conf.Load(c.Config)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log := newLog(env.Stderr, f.Log, level).With(slog.String("node", f.Node.Name))
	for _, w := range f.Warnings {
		log.Warn("config warning", slog.String("warning", w.String()))
	}

	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(sigs)
	ctx, cancel := context.WithCancelCause(context.Background())
	reopen := make(chan struct{}, 1)
	s := &signals{env: env, log: log, level: level, file: f, path: c.Config, stop: cancel, reopen: reopen}
	var wg sync.WaitGroup
	done := make(chan struct{})
	defer wg.Wait()
	defer close(done)
	wg.Go(func() { s.watch(sigs, done) })
	if env.Getenv(ParentPipe) != "" {
		// Nothing ends this read but the parent; it ends with the process.
		go func() {
			_, _ = io.Copy(io.Discard, env.Stdin)
			sigs <- syscall.SIGTERM
		}()
	}

	log.Info("node starts", slog.String("program", env.Name), slog.String("id", f.Node.ID.String()),
		slog.String("cluster", f.Cluster.Name), slog.String("config", c.Config), slog.String("version", cli.BuildVersion(env.Name).Version))
	err = env.RunNode(ctx, f, log, reopen)
	if errors.Is(err, ErrSignal) || errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), ErrSignal) {
		err = nil // it was told to stop, and did
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", f.Node.Name, err)
	}
	log.Info("node stopped")
	return nil
}

// signals is the state of the goroutine that takes a node's signals.
type signals struct {
	env   *Env
	log   *slog.Logger
	level *slog.LevelVar
	file  *conf.File // in force, with what was taken over live
	path  string
	stop  context.CancelCauseFunc
	// reopen makes the node open its logs anew; a value that waits says enough.
	reopen chan<- struct{}
}

// watch returns when done is closed.
func (s *signals) watch(sigs <-chan os.Signal, done <-chan struct{}) {
	var late <-chan time.Time // nil until the node drains
	draining := false
	for {
		select {
		case <-done:
			return
		case <-late:
			s.log.Error("the node did not stop in time and is ended", slog.Duration("after", s.file.Node.DrainTimeout+grace))
			s.env.Exit(int(cli.Failed))
			return
		case sig := <-sigs:
			switch {
			case sig == syscall.SIGHUP:
				s.reload()
			case draining:
				s.log.Warn("second signal, ending at once", slog.String("signal", sig.String()))
				s.env.Exit(int(cli.Failed))
				return
			default:
				draining = true
				s.log.Info("draining", slog.String("signal", sig.String()), slog.Duration("at_most", s.file.Node.DrainTimeout))
				timer := time.NewTimer(s.file.Node.DrainTimeout + grace)
				defer timer.Stop()
				late = timer.C
				s.stop(ErrSignal)
			}
		}
	}
}

// reload reads the file again, takes over what can change in a running node and
// names what needs a restart. A file with faults changes nothing.
func (s *signals) reload() {
	select {
	case s.reopen <- struct{}{}:
	default:
	}
	next, err := conf.Load(s.path)
	if err != nil {
		problems, _ := errors.AsType[conf.Problems](err)
		for _, p := range problems {
			s.log.Error("config not read anew, the node goes on with the old one", slog.String("fault", p.String()))
		}
		return
	}
	changes := conf.Diff(s.file, next)
	for _, c := range changes {
		if c.Restart {
			s.log.Warn("config changed, needs a restart", slog.String("key", c.Key), slog.String("running", c.Old), slog.String("file", c.New))
			continue
		}
		s.log.Info("config changed, in force now", slog.String("key", c.Key), slog.String("was", c.Old), slog.String("is", c.New))
	}
	if len(changes) == 0 {
		s.log.Info("config read anew, nothing changed")
	}
	s.file.Log.Level = next.Log.Level
	setLevel(s.level, next.Log.Level)
}

func setLevel(v *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		panic(fmt.Sprintf("program: level %q passed the config's check: %v", name, err))
	}
	v.Set(l)
}

func newLog(w io.Writer, c conf.Log, level *slog.LevelVar) *slog.Logger {
	setLevel(level, c.Level)
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
