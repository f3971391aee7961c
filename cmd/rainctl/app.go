package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
)

// grammar is the command line.
type grammar struct {
	Cluster   string        `placeholder:"FILE" help:"A demo.json, or {\"admin\":[URL],\"token\":T}. Else $$RAIN_CLUSTER."`
	Admin     string        `placeholder:"URL,URL" help:"Admin addresses; the next one is asked when one fails. Else $$RAIN_ADMIN."`
	TokenFile string        `placeholder:"FILE" help:"File with the admin token. Else $$RAIN_TOKEN holds the token itself."`
	Timeout   time.Duration `default:"10s" help:"For an answer; for bodies, the time without a byte."`
	JSON      bool          `name:"json" help:"Print JSON."`
	Get       string        `placeholder:"PATH" help:"Print one value of the JSON answer, such as vips.0.holder or members.#."`

	Init     initCmd     `cmd:"" help:"Make the first node of a new cluster: its file, key and token."`
	Invite   inviteCmd   `cmd:"" help:"Let another box into the cluster."`
	Join     joinCmd     `cmd:"" help:"Make this box a node of a cluster that invited it."`
	Set      setCmd      `cmd:"" help:"Show or change what all nodes have in common."`
	Status   statusCmd   `cmd:"" help:"How the cluster is, in a table and a sentence."`
	Watch    watchCmd    `cmd:"" help:"Ask a URL again and again and count what fails. It never retries."`
	Ring     ringCmd     `cmd:"" help:"The membership ring."`
	Links    linksCmd    `cmd:"" help:"The paths between the nodes."`
	Node     nodeCmd     `cmd:"" help:"Take nodes out of service and back."`
	VIP      vipCmd      `cmd:"" name:"vip" help:"Virtual addresses."`
	Put      putCmd      `cmd:"" help:"Store an object."`
	GetObj   getCmd      `cmd:"" name:"get" help:"Fetch an object."`
	Stat     statCmd     `cmd:"" help:"Describe an object."`
	Rm       rmCmd       `cmd:"" help:"Delete an object."`
	Ls       lsCmd       `cmd:"" help:"List buckets or objects."`
	Bucket   bucketCmd   `cmd:"" help:"Buckets."`
	Layout   layoutCmd   `cmd:"" help:"The storage nodes: where striped objects lie."`
	Store    storeCmd    `cmd:"" help:"Check and repair what is stored, on all nodes."`
	Site     siteCmd     `cmd:"" help:"Publish websites."`
	Video    videoCmd    `cmd:"" help:"Films."`
	Fault    faultCmd    `cmd:"" help:"Make things fail, where the nodes allow it."`
	Topology topologyCmd `cmd:"" help:"What faults can do to ways of connecting nodes to switches."`
	Key      keyCmd      `cmd:"" help:"Cluster keys and tokens."`
	File     fileCmd     `cmd:"" name:"cluster" help:"Print the cluster file that is in use, for scripts."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// app is what a verb's Run gets.
type app struct {
	*world
	ctx  context.Context
	g    *grammar
	code int // exit code of a verb that did its work and has more to say
}

// run parses args, does the verb and returns the exit code.
func run(ctx context.Context, args []string, w *world) int {
	var g grammar
	helped := false
	parser, err := kong.New(&g, kong.Name("rainctl"),
		kong.Description("The operator's hand on a RAIN cluster.\n\n"+cli.ExitTable+"\n'status --check': 0 ok, 10 degraded, 11 critical."),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(func(int) { helped = true }))
	if err != nil {
		panic(fmt.Sprintf("rainctl: the grammar: %v", err)) // a bug here, whatever the arguments
	}
	a := &app{world: w, ctx: ctx, g: &g}
	k, err := parser.Parse(args)
	switch {
	case helped:
		return int(cli.OK)
	case err != nil:
		err = &cli.Error{Exit: cli.Usage, Hint: "see 'rainctl --help'", Err: err}
	default:
		path := strings.Fields(k.Command())
		err = translate(k.Run(a, verbOf(path)))
	}
	if err != nil {
		return cli.Report(err, wantsJSON(args), "rainctl", w.stdout, w.stderr)
	}
	return a.code
}

// wantsJSON also sees --json on a command line that does not parse.
func wantsJSON(args []string) bool {
	for _, s := range args {
		switch s {
		case "--":
			return false
		case "--json", "--json=true":
			return true
		}
	}
	return false
}

// exits maps HTTP statuses to exit codes.
func exits(status int) cli.Exit {
	switch status {
	case 400, 413, 414, 416, 422:
		return cli.BadInput
	case 401, 403:
		return cli.Denied
	case 404:
		return cli.NotFound
	case 409, 412:
		return cli.Conflict
	case 0, 408, 421, 429, 502, 503, 504:
		return cli.Unavailable
	case 507:
		return cli.NoSpace
	}
	return cli.Failed
}

// translate gives a node's answer its exit code.
func translate(err error) error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		exit := exits(e.Status)
		if e.Code == "no_address" {
			exit = cli.Usage
		}
		return &cli.Error{Exit: exit, Code: e.Code, Hint: e.Hint, Err: err}
	}
	if errors.Is(err, context.Canceled) {
		return &cli.Error{Exit: cli.Unavailable, Code: "timeout", Hint: "try again, or raise --timeout", Err: err}
	}
	return err
}

func usage(format string, args ...any) error {
	return cli.New(cli.Usage, "usage", "see 'rainctl --help'", format, args...)
}

// clusterPath is the cluster file: what the command line says beats the environment.
func (a *app) clusterPath() string {
	if a.g.Cluster != "" || a.g.Admin != "" {
		return a.g.Cluster
	}
	return a.getenv("RAIN_CLUSTER")
}

func (a *app) clusterFile() (client.ClusterFile, error) {
	path := a.clusterPath()
	if path == "" {
		return client.ClusterFile{}, usage("no cluster file given: use --cluster FILE or RAIN_CLUSTER")
	}
	f, err := client.ReadClusterFile(path)
	if err != nil {
		return f, &cli.Error{Exit: cli.BadInput, Code: "bad_cluster_file", Hint: "is the demo running, and is this its demo.json?", Err: err}
	}
	return f, nil
}

// client makes the client that flags and environment ask for.
func (a *app) client() (*client.Client, error) {
	var f client.ClusterFile
	if a.clusterPath() != "" {
		var err error
		if f, err = a.clusterFile(); err != nil {
			return nil, err
		}
	}
	admins := a.g.Admin
	if admins == "" && a.g.Cluster == "" {
		admins = a.getenv("RAIN_ADMIN")
	}
	if admins != "" {
		f.Admin, f.Nodes = strings.Split(admins, ","), nil
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		f.Token, f.TokenFrom = token, cmp.Or(a.g.TokenFile, "$RAIN_TOKEN")
	}
	if a.g.Timeout <= 0 {
		return nil, usage("--timeout %v: must be above 0", a.g.Timeout)
	}
	c := f.Client()
	c.Timeout = a.g.Timeout
	return c, nil
}

func (a *app) token() (string, error) {
	if a.g.TokenFile == "" {
		if a.g.Cluster != "" {
			return "", nil // the file that was named has its own
		}
		return strings.TrimSpace(a.getenv("RAIN_TOKEN")), nil
	}
	b, err := os.ReadFile(a.g.TokenFile)
	if err != nil {
		return "", &cli.Error{Exit: cli.BadInput, Code: "bad_token_file", Err: err}
	}
	return strings.TrimSpace(string(b)), nil
}

// print shows a result: as JSON, as one value of it, or as text for people.
// v's JSON must have "api".
func (a *app) print(v any, text func(io.Writer)) error {
	switch {
	case a.g.Get != "":
		return a.printValue(v, a.g.Get)
	case a.g.JSON:
		return cli.PrintJSON(a.stdout, v)
	}
	var b bytes.Buffer
	text(&b)
	_, err := a.stdout.Write(b.Bytes())
	return err
}

func (a *app) printValue(v any, path string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("rainctl: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return fmt.Errorf("rainctl: %w", err)
	}
	got, err := lookup(tree, path)
	if err != nil {
		return err
	}
	if s, ok := got.(string); ok {
		_, err = fmt.Fprintln(a.stdout, s)
		return err
	}
	return cli.PrintJSON(a.stdout, got)
}

// lookup finds a value by names, indexes and conditions with dots between:
// vips.0.holder, nodes.[name=n2].pid; # is the length of a list.
func lookup(v any, path string) (any, error) {
	missing := func(at string) error {
		return cli.New(cli.NotFound, "no_value", "look at it with --json", "there is no %q in the answer (at %q)", path, at)
	}
	for part, rest := "", path; rest != ""; {
		part, rest = nextPart(rest)
		switch t := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = t[part]; !ok {
				return nil, missing(part)
			}
		case []any:
			if part == "#" {
				v = json.Number(strconv.Itoa(len(t)))
				break
			}
			i := index(t, part)
			if i < 0 {
				return nil, missing(part)
			}
			v = t[i]
		default:
			return nil, missing(part)
		}
	}
	return v, nil
}

func nextPart(path string) (part, rest string) {
	if strings.HasPrefix(path, "[") {
		if i := strings.IndexByte(path, ']'); i > 0 {
			return path[:i+1], strings.TrimPrefix(path[i+1:], ".")
		}
	}
	part, rest, _ = strings.Cut(path, ".")
	return part, rest
}

func index(list []any, part string) int {
	if cond, ok := strings.CutPrefix(part, "["); ok {
		name, want, _ := strings.Cut(strings.TrimSuffix(cond, "]"), "=")
		for i, e := range list {
			if m, ok := e.(map[string]any); ok && fmt.Sprint(m[name]) == want {
				return i
			}
		}
		return -1
	}
	i, err := strconv.Atoi(part)
	if err != nil || i < 0 || i >= len(list) {
		return -1
	}
	return i
}

// done is the JSON of a verb that has nothing to tell.
type done struct {
	API  int    `json:"api"`
	Done string `json:"done"`
}

func (a *app) done(format string, args ...any) error {
	s := fmt.Sprintf(format, args...)
	return a.print(done{cli.API, s}, func(w io.Writer) { fmt.Fprintln(w, s) })
}

// safe keeps what a stranger named from steering the terminal.
func safe(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
