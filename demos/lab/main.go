// Command lab makes a laboratory of hosts, switches and cables on one Linux
// machine, in network namespaces, starts nodes in the hosts, and breaks what it
// is told to. It needs root. Nothing of it is left when it ends, even by
// SIGKILL.
//
//	lab up demos/lab/small.toml --program bin/rainvideo
//	lab status
//	lab cut n1-s1            # a cable, both ways; --one-way: from n1 to s1 only
//	lab crash s1             # a switch; lab crash n2: the node of host n2, SIGKILL
//	lab exec client curl http://10.77.100.1:8080/
//	lab heal                 # all cables and switches
//	lab down
//
// Verbs for a cable or trunk: cut, heal, drop PERCENT, double PERCENT,
// late PERCENT (2 ms, so that others overtake), delay MS, rate BYTES_A_SECOND,
// mtu BYTES (longer packets are lost, as in a switch that is set wrongly).
// cut and heal also take two hosts (n1-n2): then these do not hear each other.
// For a host: crash, freeze, thaw, stop, start. For a switch: crash, start.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"rain/demos/lab/flood"
	"rain/demos/lab/viewer"
)

type grammar struct {
	Dir string `default:"/tmp/rain-lab" env:"RAIN_LAB" help:"Folder of the laboratory: node files, logs, sockets."`

	Up      upCmd      `cmd:"" help:"Build the hosts and switches of a topology file and start the nodes."`
	Down    plainCmd   `cmd:"" help:"End everything."`
	Status  statusCmd  `cmd:"" help:"Hosts, switches, cables with counts, and who answered for which VIP (JSON)."`
	Exec    execCmd    `cmd:"" help:"Run a command in a host."`
	Cut     linkCmd    `cmd:"" help:"Cut a cable or trunk."`
	Heal    healCmd    `cmd:"" help:"Mend a cable or trunk, or everything."`
	Drop    valueCmd   `cmd:"" help:"Lose a share of the frames: per cent."`
	Double  valueCmd   `cmd:"" help:"Send a share of the frames twice: per cent."`
	Late    valueCmd   `cmd:"" help:"Let a share of the frames be overtaken: per cent."`
	Delay   valueCmd   `cmd:"" help:"Delay all frames: milliseconds."`
	Rate    valueCmd   `cmd:"" help:"Limit the rate: bytes a second; 0: no limit."`
	MTU     valueCmd   `cmd:"" name:"mtu" help:"Lose packets that are longer: bytes; 0: no limit."`
	Crash   nameCmd    `cmd:"" help:"SIGKILL the node of a host, or kill a switch."`
	Freeze  nameCmd    `cmd:"" help:"SIGSTOP the node of a host."`
	Thaw    nameCmd    `cmd:"" help:"SIGCONT the node of a host."`
	Stop    nameCmd    `cmd:"" help:"SIGTERM the node of a host."`
	Start   nameCmd    `cmd:"" help:"Start the node of a host, or a switch."`
	Capture captureCmd `cmd:"" help:"Write what a port (n1.0) sends and gets into a pcap file; without a file: stop."`
	View    viewCmd    `cmd:"" help:"Watch an HLS film as a person would, and tell of stalls and lost film (JSON). Run it by exec, in a host."`
	Pace    paceCmd    `cmd:"" help:"Watch the film that comes on standard input, such as that of 'rainvideo play --to -'."`
	Flood   floodCmd   `cmd:"" help:"Send forged and replayed datagrams to a node. Run it by exec, in a host."`
	Show    showCmd    `cmd:"" help:"Let films play while links, interfaces, switches and hosts break at random: a report and a picture."`
	Engine  engineCmd  `cmd:"" hidden:""`
}

type viewCmd struct {
	URL   string        `arg:"" help:"Of the playlist."`
	For   time.Duration `default:"1m" help:"How long."`
	Ahead time.Duration `default:"4s" help:"How much film is fetched beforehand."`
	Give  time.Duration `name:"give-up" default:"10s" help:"A segment that is not whole by then is lost."`
	Host  string        `help:"Host header, if not the URL's."`
	Again bool          `help:"Ask again for what failed, as players do."`
}

type showCmd struct {
	Topology string        `arg:"" type:"existingfile" help:"Of the laboratory that is up."`
	Film     string        `default:"show" help:"The film, which is in the cluster already."`
	Rate     int64         `required:"" help:"Bytes of a second of it."`
	Play     []string      `help:"Hosts in which 'rainvideo play' shows it."`
	Watch    []string      `help:"HLS playlists that are watched in the client."`
	Page     string        `help:"A film's page, which a browser shows in the client."`
	Browser  string        `default:"demos/film-view.mjs" help:"The script for that, by node."`
	Client   string        `default:"client" help:"The host for these."`
	Player   string        `default:"rainvideo" help:"The program rainvideo."`
	For      time.Duration `default:"10m" help:"How long."`
	Least    int           `default:"6" help:"Nodes that always stay connected."`
	Near     int           `default:"4" help:"Nodes that each player always reaches directly."`
	AtOnce   int           `default:"3" help:"Faults at a time."`
	Every    time.Duration `default:"4s" help:"How often something breaks."`
	Shortest time.Duration `default:"3s" help:"Of a fault."`
	Longest  time.Duration `default:"15s" help:"Of a fault."`
	Ahead    time.Duration `default:"4s" help:"How much film a viewer has beforehand."`
	Seed     uint64        `default:"1" help:"Of the choice."`
	Out      string        `default:"." help:"Folder for report.txt, picture.svg and story.json."`
	Dir      string        `kong:"-"`
}

type floodCmd struct {
	To    netip.AddrPort `arg:"" help:"Address and port of a link of the node: 10.77.1.1:7400."`
	Heard string         `arg:"" type:"existingfile" help:"A pcap file of 'lab capture'."`
	Rate  int            `default:"50000" help:"Datagrams a second."`
	For   time.Duration  `default:"1m" help:"How long."`
	Seed  uint64         `default:"1" help:"Of the choice."`
}

type paceCmd struct {
	Name  string        `arg:"" help:"What the report calls it."`
	Rate  int64         `required:"" help:"Bytes of a second of film."`
	Ahead time.Duration `default:"4s" help:"How much is read beforehand."`
}

type upCmd struct {
	Topology string        `arg:"" type:"existingfile"`
	Program  string        `default:"rainvideo" help:"What runs a node."`
	Seed     uint64        `default:"1" help:"Of all chance in the net."`
	Empty    bool          `help:"Start no node."`
	For      time.Duration `default:"12h" help:"All ends by then."`
	Bound    bool          `help:"Stay, and end everything with this process, and with the pipe on its standard input if that is one."`
	Dir      string        `kong:"-"`
}

type engineCmd struct {
	Topology string `arg:""`
	Program  string
	Seed     uint64
	Empty    bool
	For      time.Duration
	Dir      string `kong:"-"`
}

type execCmd struct {
	Host    string   `arg:""`
	Command []string `arg:"" passthrough:""`
	Dir     string   `kong:"-"`
}

type plainCmd struct{}
type statusCmd struct{}

type nameCmd struct {
	Name string `arg:"" help:"A host or a switch."`
}

type linkCmd struct {
	Link   string `arg:"" help:"A cable (n1-s2) or trunk (s1-s2)."`
	OneWay bool   `help:"Only from the first name to the second."`
}

type healCmd struct {
	Link   string `arg:"" optional:"" help:"A cable or trunk; without: everything."`
	OneWay bool   `help:"Only from the first name to the second."`
}

type valueCmd struct {
	Link   string  `arg:"" help:"A cable (n1-s2) or trunk (s1-s2)."`
	Value  float64 `arg:""`
	OneWay bool    `help:"Only from the first name to the second."`
}

type captureCmd struct {
	Port string `arg:""`
	File string `arg:"" optional:""`
}

// order is what the engine is told; it has the shape of engine.Order.
type order struct {
	Name   string  `json:"name"`
	OneWay bool    `json:"one_way"`
	Value  float64 `json:"value"`
	Path   string  `json:"path"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var g grammar
	k := kong.Parse(&g, kong.Name("lab"), kong.Description("Hosts, switches and cables on one machine, for anyone to break."))
	if err := run(ctx, &g, k.Selected().Name, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, g *grammar, verb string, w io.Writer) error {
	post := func(o order) error { return call(ctx, g.Dir, http.MethodPost, "/"+verb, o, nil) }
	value := func(c valueCmd) error { return post(order{Name: c.Link, OneWay: c.OneWay, Value: c.Value}) }
	switch verb {
	case "up":
		g.Up.Dir = g.Dir
		return g.Up.Run(ctx, w)
	case "engine":
		g.Engine.Dir = g.Dir
		return g.Engine.Run(ctx, w)
	case "view":
		v := g.View
		return tell(w)(viewer.HLS(ctx, viewer.Config{URL: v.URL, For: v.For, Ahead: v.Ahead, Give: v.Give, Host: v.Host, Again: v.Again}))
	case "pace":
		if g.Pace.Rate <= 0 {
			return errors.New("lab: --rate must be above 0")
		}
		return tell(w)(viewer.Pace(ctx, os.Stdin, g.Pace.Name, g.Pace.Rate, g.Pace.Ahead))
	case "show":
		g.Show.Dir = g.Dir
		return g.Show.Run(ctx, w)
	case "flood":
		return g.Flood.run(ctx, w)
	case "exec":
		g.Exec.Dir = g.Dir
		return g.Exec.Run(ctx, w)
	case "status":
		var v json.RawMessage
		if err := call(ctx, g.Dir, http.MethodGet, "/status", nil, &v); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w, string(v))
		return err
	case "down":
		return post(order{})
	case "cut":
		return post(order{Name: g.Cut.Link, OneWay: g.Cut.OneWay})
	case "heal":
		return post(order{Name: g.Heal.Link, OneWay: g.Heal.OneWay})
	case "capture":
		path := g.Capture.File
		if path != "" {
			var err error
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
		}
		return post(order{Name: g.Capture.Port, Path: path})
	}
	values := map[string]valueCmd{"drop": g.Drop, "double": g.Double, "late": g.Late, "delay": g.Delay, "rate": g.Rate, "mtu": g.MTU}
	if c, ok := values[verb]; ok {
		return value(c)
	}
	names := map[string]nameCmd{"crash": g.Crash, "freeze": g.Freeze, "thaw": g.Thaw, "stop": g.Stop, "start": g.Start}
	return post(order{Name: names[verb].Name})
}

// tell prints a viewer's report.
func tell(w io.Writer) func(viewer.Report, error) error {
	return func(r viewer.Report, err error) error {
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(r)
	}
}

func (c *floodCmd) run(ctx context.Context, w io.Writer) error {
	if c.Rate < 1 || c.Rate > 1_000_000 {
		return errors.New("lab: --rate must be 1 to 1000000")
	}
	f, err := os.Open(c.Heard)
	if err != nil {
		return err
	}
	heard, err := flood.Read(bufio.NewReader(f), c.To.Port())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	m, err := flood.NewMix(heard, c.Seed)
	if err != nil {
		return err
	}
	rep, err := flood.Send(ctx, m, c.To, c.Rate, c.For)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(rep)
}
