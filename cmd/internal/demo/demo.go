// Package demo runs a whole cluster on one machine: "rainvideo demo".
//
// Each node is a process of its own (this program, "run --config FILE") with an
// address of its own on the loopback, so that it can be killed, frozen and
// started again while one watches. The demo publishes a site and a film, writes what it
// made into DIR/demo.json, serves the control address, and waits.
//
// Guarantees:
//   - demo.json is written by rename once the cluster is ready (one view of all,
//     every VIP held and answering, site and film published), and again whenever a pid
//     or a state changes.
//   - The demo never starts or ends a node unasked while it runs.
//   - No child outlives the demo, however it ends: on Linux the kernel kills
//     them with it; elsewhere they drain when a pipe from it closes.
//
// Limit: where only 127.0.0.1 exists, the nodes take consecutive ports there
// and there are no VIPs: the loopback driver needs Linux.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rain/cmd/internal/cli"
)

// Host is the name of the demo's site, FilmName that of its film.
const (
	Host     = "demo.rain"
	FilmName = "demo"
)

// Limits of a demo.
const (
	MaxNodes = 16
	MaxVIPs  = 64
)

// readyTimeout is how long the cluster may take from the first process to
// ready; on an idle machine it takes about a second.
const readyTimeout = 90 * time.Second

// Options are the flags of the command, and what it needs of the program.
type Options struct {
	Nodes, VIPs               int
	Preset                    string
	Dir                       string // empty: a temporary one that goes at the end
	Port, AdminPort, RingPort int
	Empty                     bool          // publish nothing
	RunFor                    time.Duration // 0: until ctx is done
	JSON                      bool

	Exe  string // absolute path of the program that runs a node
	Site fs.FS  // the demo's site
	// Publish puts the site on the cluster under host, as the default site.
	Publish func(ctx context.Context, admins []string, token, host string, site fs.FS) error
	// PublishFilm puts the demo's film on the cluster as FilmName.
	PublishFilm func(ctx context.Context, admins []string, token, name string) error

	Stdout, Stderr io.Writer
}

// Default are the options of a demo without flags.
func Default() Options {
	return Options{Nodes: 4, VIPs: 2, Preset: "laptop", Port: 8080, AdminPort: 8081, RingPort: 7400}
}

// Validate says all that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Nodes >= 1 && o.Nodes <= MaxNodes, "--nodes %d: from 1 to %d", o.Nodes, MaxNodes)
	check(o.VIPs >= 0 && o.VIPs <= MaxVIPs, "--vips %d: from 0 to %d", o.VIPs, MaxVIPs)
	check(o.RunFor >= 0, "--run-for %s: not negative", o.RunFor)
	for _, p := range []struct {
		flag string
		port int
	}{{"--port", o.Port}, {"--admin-port", o.AdminPort}, {"--ring-port", o.RingPort}} {
		check(p.port >= 1 && p.port <= 65535, "%s %d: from 1 to 65535", p.flag, p.port)
	}
	check(o.Port != o.AdminPort && o.Port != o.RingPort && o.AdminPort != o.RingPort, "--port, --admin-port and --ring-port must differ")
	if len(errs) > 0 {
		return &cli.Error{Exit: cli.Usage, Hint: "see 'rainvideo demo --help'", Err: fmt.Errorf("demo: %w", errors.Join(errs...))}
	}
	return nil
}

// demo is a running one.
type demo struct {
	o     Options
	dir   string // absolute
	net   network
	token string
	procs []*proc
	spawn *spawner

	changed chan struct{} // a pid or a state is new; holds one
	dying   chan *proc    // a child ended; holds one of each
}

// Run runs the demo until ctx is done or RunFor is over, and then returns nil.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	d := &demo{o: o, changed: make(chan struct{}, 1), dying: make(chan *proc, o.Nodes)}
	release, err := d.openDir()
	if err != nil {
		return err
	}
	defer release()
	if err := d.prepare(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", d.net.control.String())
	if err != nil {
		return fmt.Errorf("demo: control address: %w", err)
	}

	d.spawn = newSpawner()
	defer d.spawn.close() // last: on Linux its end would kill what is left
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer d.stopAll() // after the control address, which could start one
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { d.serveControl(ctx, ln) })
	wg.Go(func() { d.monitor(ctx) })

	err = d.start(ctx)
	if err == nil {
		err = d.hold(ctx)
	}
	if ctx.Err() != nil {
		return nil // told to stop, at whatever point
	}
	return err
}

// start brings the nodes up, publishes and waits until all is ready.
func (d *demo) start(ctx context.Context) error {
	fmt.Fprintf(d.o.Stderr, "demo: starting %d nodes in %s\n", d.o.Nodes, d.dir)
	for _, p := range d.procs {
		if err := p.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errNotReady)
	defer cancel()
	if err := d.untilReady(ctx, "one view of all and every VIP held and answering", d.clusterReady); err != nil {
		return err
	}
	if !d.o.Empty && d.o.Publish != nil {
		fmt.Fprintf(d.o.Stderr, "demo: publishing %s\n", Host)
		if err := d.o.Publish(ctx, d.admins(), d.token, Host, d.o.Site); err != nil {
			return fmt.Errorf("demo: publish %s: %w", Host, err)
		}
		if err := d.untilReady(ctx, "the site on every VIP", d.siteReady); err != nil {
			return err
		}
	}
	if d.film() != "" {
		if err := d.o.PublishFilm(ctx, d.admins(), d.token, FilmName); err != nil {
			return fmt.Errorf("demo: publish the film: %w", err)
		}
		if err := d.untilReady(ctx, "the film on every VIP", d.filmReady); err != nil {
			return err
		}
	}
	if err := d.writeFile(); err != nil {
		return err
	}
	if d.o.JSON {
		return cli.PrintJSON(d.o.Stdout, d.describe())
	}
	return d.tell()
}

// hold keeps demo.json true until the end.
func (d *demo) hold(ctx context.Context) error {
	var over <-chan time.Time
	if d.o.RunFor > 0 {
		t := time.NewTimer(d.o.RunFor)
		defer t.Stop()
		over = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case <-d.dying: // its owner asked for it, or somebody outside: no business of ours
		case <-d.changed:
			if err := d.writeFile(); err != nil {
				return err
			}
		}
	}
}

// openDir makes the folder, takes its lock and says how to let go of it.
func (d *demo) openDir() (release func(), err error) {
	if d.o.Dir == "" {
		d.dir, err = os.MkdirTemp("", "rain-demo-")
		if err != nil {
			return nil, fmt.Errorf("demo: temporary folder: %w", err)
		}
		return func() {
			if err := os.RemoveAll(d.dir); err != nil {
				fmt.Fprintf(d.o.Stderr, "demo: remove the temporary folder: %v\n", err)
			}
		}, nil
	}
	if d.dir, err = filepath.Abs(d.o.Dir); err != nil {
		return nil, fmt.Errorf("demo: --dir %s: %w", d.o.Dir, err)
	}
	if err = os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("demo: --dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(d.dir, "demo.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo: --dir: %w", err)
	}
	if err := tryLock(lock); err != nil {
		lock.Close()
		return nil, cli.New(cli.InUse, "in_use", "stop that demo, or choose another --dir", "demo: folder %s is used by another demo: %w", d.dir, err)
	}
	return func() { lock.Close() }, nil
}

// notify wakes the writer of demo.json; it never blocks.
func (d *demo) notify() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}
