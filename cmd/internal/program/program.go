// Package program is what snow and rainvideo have in common: the commands run,
// check, config and version, the signals of a node, and the way from the
// command line to an exit code.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"

	"rain/cmd/internal/cli"
	"rain/conf"
)

// Env is what the commands need of the world.
type Env struct {
	Name           string // of the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Exit ends the process at once; used for the second signal.
	Exit func(code int)
	// RunNode runs a node until ctx is done, drains it and returns. reopen tells
	// it to open its logs anew.
	RunNode func(ctx context.Context, f *conf.File, log *slog.Logger, reopen <-chan struct{}) error
}

// Commands are those of every node program; embed it in the grammar.
type Commands struct {
	Run     Run     `cmd:"" help:"Run a node in the foreground."`
	Check   Check   `cmd:"" help:"Look for faults in a node file; run nothing."`
	Witness Witness `cmd:"" help:"Be the witness of a cluster with policy witness, on a box that is no node."`
	Config  Config  `cmd:"" help:"Print the reference of the node file with all defaults."`
	Version Version `cmd:"" help:"Print the version."`
}

// Main parses args into the grammar (a pointer to a struct with kong's tags, its
// commands with Run(*Env) error), runs the command and returns the exit code.
func Main(env *Env, description string, grammar any, args []string) int {
	exited := false // by --help, through kong's Exit
	parser, err := kong.New(grammar,
		kong.Name(env.Name),
		kong.Description(description+"\n\n"+cli.ExitTable),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(int) { exited = true }),
		kong.UsageOnError(),
	)
	if err != nil {
		panic(fmt.Sprintf("program: the grammar of %s: %v", env.Name, err)) // a bug here, whatever the arguments
	}
	ctx, err := parser.Parse(args)
	switch {
	case exited:
		return int(cli.OK)
	case err != nil:
		err = &cli.Error{Exit: cli.Usage, Hint: "see '" + env.Name + " --help'", Err: err}
	default:
		err = ctx.Run(env)
	}
	return cli.Report(err, wantsJSON(args), env.Name, env.Stdout, env.Stderr)
}

// wantsJSON also sees --json on a command line that does not parse.
func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" || a == "--json=true" {
			return true
		}
	}
	return false
}

// Check is the command check.
type Check struct {
	File string `arg:"" help:"The node file."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Run loads the file and says what it found.
func (c *Check) Run(env *Env) error {
	f, err := conf.Load(c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		return cli.PrintJSON(env.Stdout, struct {
			API      int            `json:"api"`
			File     string         `json:"file"`
			OK       bool           `json:"ok"`
			Node     string         `json:"node"`
			ID       string         `json:"id"`
			Cluster  string         `json:"cluster"`
			Warnings []conf.Problem `json:"warnings"`
		}{cli.API, c.File, true, f.Node.Name, f.Node.ID.String(), f.Cluster.Name, append([]conf.Problem{}, f.Warnings...)})
	}
	for _, w := range f.Warnings {
		fmt.Fprintf(env.Stderr, "warning: %s\n", w)
	}
	vips := 0
	for _, p := range f.VIP.Pools {
		vips += len(p.Addresses)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s: ok: node %s (%s) of cluster %s, %d founders, %d links, %d VIPs\n",
		c.File, f.Node.Name, f.Node.ID, f.Cluster.Name, len(f.Cluster.Founders), len(f.Links), vips)
	return err
}

// Config is the command config.
type Config struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the reference.
func (c *Config) Run(env *Env) error {
	if c.JSON {
		return cli.PrintJSON(env.Stdout, struct {
			API       int    `json:"api"`
			Reference string `json:"reference"`
		}{cli.API, conf.Reference()})
	}
	_, err := io.WriteString(env.Stdout, conf.Reference())
	return err
}

// Version is the command version.
type Version struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the build.
func (c *Version) Run(env *Env) error {
	v := cli.BuildVersion(env.Name)
	if c.JSON {
		return cli.PrintJSON(env.Stdout, v)
	}
	_, err := fmt.Fprintln(env.Stdout, v)
	return err
}

// ErrSignal is the cause of a node's end by TERM or INT.
var ErrSignal = errors.New("program: told to stop by a signal")
