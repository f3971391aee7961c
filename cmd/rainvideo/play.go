package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/cmd/internal/program"
	"rain/snow/admin"
	"rain/video/session"
)

// Play is the command play.
type Play struct {
	Film      string `arg:"" help:"The film's name; 'rainctl video ls' lists them."`
	To        string `placeholder:"FILE|-" help:"Write the film there instead of playing it."`
	Cluster   string `placeholder:"FILE" help:"A demo.json, or {\"admin\":[URL],\"token\":T}. Else $$RAIN_CLUSTER."`
	Admin     string `placeholder:"URL,URL" help:"Admin addresses. Else $$RAIN_ADMIN."`
	TokenFile string `placeholder:"FILE" help:"File with the admin token. Else $$RAIN_TOKEN holds the token itself."`
	Quiet     bool   `help:"Don't print where each block came from."`
	JSON      bool   `name:"json" help:"Print where each block came from, and the outcome, as lines of JSON; on stderr if the film goes to stdout."`
}

const (
	partsAhead = 4               // how many parts are on their way
	patience   = 3 * time.Second // without a byte, before a node is given up
	giveUp     = 30 * time.Second
)

// outcome is what play tells in the end.
type outcome struct {
	API     int            `json:"api"`
	Film    string         `json:"film"`
	Session string         `json:"session"` // as 'rainctl status' names it
	Size    int64          `json:"size_bytes"`
	SHA256  string         `json:"sha256"`
	From    map[string]int `json:"parts_from"` // reads by node
}

// Run plays until the end, or until a signal.
func (p *Play) Run(env *program.Env) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.run(ctx, env)
}

// run reads the film part by part and holds the whole to its hash.
func (p *Play) run(ctx context.Context, env *program.Env) (err error) {
	c, err := p.client(env)
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Video(ctx, p.Film)
	if err != nil {
		return remote(err)
	}
	done := outcome{API: cli.API, Film: v.Name, Session: session.MakeID(rand.Text()).String(), Size: v.Size, SHA256: v.SHA256, From: map[string]int{}}
	var from source = whole{c, v.Video, done.Session}
	if s, err := newStriped(ctx, c, v.Video); err != nil {
		return remote(err)
	} else if s != nil {
		s.session = done.Session
		from = s
	}
	out, finish, err := p.open(ctx, env)
	if err != nil {
		return err
	}
	if !p.Quiet && !p.JSON {
		fmt.Fprintf(env.Stderr, "rainvideo: session %s\n", done.Session)
	}
	say := p.reporter(env)
	err = copyParts(ctx, from, out, v.Video, func(got part) error {
		for _, o := range got.from {
			done.From[o.Node]++
		}
		return say(got)
	})
	if err = errors.Join(err, finish(err == nil)); err != nil {
		return remote(err)
	}
	return p.conclude(env, done)
}

// said is where what --json prints goes: stdout may be the film's.
func (p *Play) said(env *program.Env) io.Writer {
	if p.To == "-" {
		return env.Stderr
	}
	return env.Stdout
}

// reporter tells where each part came from.
func (p *Play) reporter(env *program.Env) func(part) error {
	switch {
	case p.Quiet:
		return func(part) error { return nil }
	case p.JSON:
		return func(got part) error {
			return cli.PrintJSON(p.said(env), partLine{cli.API, got.block, got.blocks, got.off, len(got.body), got.from})
		}
	}
	return func(got part) error {
		var list []string
		for _, o := range got.from {
			list = append(list, o.String())
		}
		_, err := fmt.Fprintf(env.Stderr, "blocks %5d-%-5d bytes %11d-%-11d %s\n", got.block, got.block+got.blocks-1, got.off, got.off+int64(len(got.body))-1, strings.Join(list, " "))
		return err
	}
}

func (p *Play) conclude(env *program.Env, done outcome) error {
	if p.JSON {
		return cli.PrintJSON(p.said(env), done)
	}
	var list []string
	for _, node := range slices.Sorted(maps.Keys(done.From)) {
		list = append(list, fmt.Sprintf("%s %d", node, done.From[node]))
	}
	_, err := fmt.Fprintf(env.Stderr, "rainvideo: %s: %d bytes, sha256 as stored; reads from %s\n", done.Film, done.Size, strings.Join(list, ", "))
	return err
}

func check(ctx context.Context, sum hash.Hash, v admin.Video) error {
	if err := ctx.Err(); err != nil {
		return cli.New(cli.Failed, "stopped", "", "rainvideo: stopped before the end of %s", v.Name)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != v.SHA256 {
		return cli.New(cli.Failed, "wrong_hash", "try again; was it replaced meanwhile?", "rainvideo: %s has sha256 %s, stored was %s", v.Name, got, v.SHA256)
	}
	return nil
}

// open opens where the film goes; finish ends it, well or not.
func (p *Play) open(ctx context.Context, env *program.Env) (out io.Writer, finish func(well bool) error, err error) {
	switch p.To {
	case "-":
		out := newStoppable(ctx, env.Stdout)
		return out, func(bool) error { return nil }, nil
	case "":
		return player(ctx, env)
	}
	f, err := os.CreateTemp(filepath.Dir(p.To), ".rainvideo-*")
	if err != nil {
		return nil, nil, &cli.Error{Exit: cli.BadInput, Err: fmt.Errorf("rainvideo: %w", err)}
	}
	return f, func(well bool) error {
		err := f.Close()
		if well && err == nil {
			if err = os.Rename(f.Name(), p.To); err == nil {
				return nil
			}
		}
		return errors.Join(err, os.Remove(f.Name())) // a file of that name is always whole
	}, nil
}

// player starts a player that reads the film from its standard input.
func player(ctx context.Context, env *program.Env) (io.Writer, func(bool) error, error) {
	for _, argv := range [][]string{{"mpv", "--really-quiet", "-"}, {"ffplay", "-v", "error", "-autoexit", "-i", "pipe:0"}, {"vlc", "--play-and-exit", "-"}} {
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, argv[1:]...)
		cmd.Stderr = env.Stderr
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("rainvideo: start %s: %w", path, err)
		}
		return in, func(bool) error {
			if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
				return fmt.Errorf("rainvideo: %s: %w", argv[0], err)
			}
			return nil
		}, nil
	}
	return nil, nil, cli.New(cli.BadInput, "no_player", "install mpv, ffplay or vlc, or write it with --to FILE (- is stdout)", "rainvideo: no player is installed")
}

// client finds the cluster as rainctl does.
func (p *Play) client(env *program.Env) (*client.Client, error) {
	var f client.ClusterFile
	path, admins := p.Cluster, p.Admin
	if path == "" && admins == "" {
		path, admins = env.Getenv("RAIN_CLUSTER"), env.Getenv("RAIN_ADMIN")
	}
	if path != "" {
		var err error
		if f, err = client.ReadClusterFile(path); err != nil {
			return nil, &cli.Error{Exit: cli.BadInput, Code: "bad_cluster_file", Hint: "is the demo running, and is this its demo.json?", Err: err}
		}
	}
	if admins != "" {
		f.Admin, f.Nodes = strings.Split(admins, ","), nil
	}
	if len(f.URLs()) == 0 {
		return nil, cli.New(cli.Usage, "usage", "use --cluster FILE, --admin URL or RAIN_CLUSTER", "rainvideo: no cluster is named")
	}
	if p.TokenFile != "" {
		b, err := os.ReadFile(p.TokenFile)
		if err != nil {
			return nil, &cli.Error{Exit: cli.BadInput, Code: "bad_token_file", Err: err}
		}
		f.Token, f.TokenFrom = strings.TrimSpace(string(b)), p.TokenFile
	} else if t := strings.TrimSpace(env.Getenv("RAIN_TOKEN")); t != "" && p.Cluster == "" {
		f.Token, f.TokenFrom = t, "$RAIN_TOKEN"
	}
	return f.Client(), nil
}

// remote gives a node's answer its exit code.
func remote(err error) error {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	exit := cli.Unavailable
	switch e.Status {
	case 404:
		exit = cli.NotFound
	case 401, 403:
		exit = cli.Denied
	}
	return &cli.Error{Exit: exit, Code: e.Code, Hint: e.Hint, Err: err}
}
