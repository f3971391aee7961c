package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"rain/cmd/internal/cli"
)

// description is demo.json.
type description struct {
	API     int        `json:"api"`
	PID     int        `json:"pid"`
	Dir     string     `json:"dir"`
	Token   string     `json:"token"`
	Host    string     `json:"host"`
	Site    string     `json:"site"`
	GUI     string     `json:"gui"`              // live picture at the first node; with the token behind the #
	Player  string     `json:"player,omitempty"` // these three are missing without a film
	HLS     string     `json:"hls,omitempty"`
	MP4     string     `json:"mp4,omitempty"`
	Control string     `json:"control"`
	VIPs    []string   `json:"vips"`
	Nodes   []nodeInfo `json:"nodes"`
}

type nodeInfo struct {
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	PID      int      `json:"pid"` // 0 if it does not run
	GuardPID int      `json:"guard_pid"`
	HTTP     string   `json:"http"`
	Admin    string   `json:"admin"`
	Ring     []string `json:"ring"`
	Argv     []string `json:"argv"`
	Data     string   `json:"data"`
	Log      string   `json:"log"`
	State    string   `json:"state"`
}

func (d *demo) describe() description {
	out := description{
		API: cli.API, PID: os.Getpid(), Dir: d.dir, Token: d.token, Host: Host, Site: d.site(), GUI: d.gui(),
		Control: "http://" + d.net.control.String(), VIPs: []string{},
	}
	if player := d.film(); player != "" {
		out.Player, out.HLS, out.MP4 = player, player+"index.m3u8", player+"film.mp4"
	}
	for _, v := range d.net.vips {
		out.VIPs = append(out.VIPs, v.String())
	}
	for _, p := range d.procs {
		out.Nodes = append(out.Nodes, p.info())
	}
	return out
}

func (p *proc) info() nodeInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := nodeInfo{
		Name: p.addrs.name, ID: p.addrs.id, GuardPID: p.guard, State: p.state,
		HTTP: "http://" + p.addrs.web.String(), Admin: "http://" + p.addrs.admin.String(), Ring: []string{p.addrs.lnk.String()},
		Argv: p.argv, Data: filepath.Join(p.dir, "data"), Log: p.log(),
	}
	if p.p != nil {
		n.PID = p.p.Pid
	}
	return n
}

// site is the URL of the demo's site: on the first VIP, or on n1 without one.
func (d *demo) site() string {
	if len(d.net.vips) > 0 {
		return "http://" + d.net.vips[0].String() + "/"
	}
	return "http://" + d.net.nodes[0].web.String() + "/"
}

// film is the URL of the film's page, "" if none is published.
func (d *demo) film() string {
	if d.o.Empty || d.o.PublishFilm == nil {
		return ""
	}
	return d.site() + "video/" + FilmName + "/"
}

// gui is the URL of the live picture. The token is in the part that a browser
// sends to nobody; the page takes it out of the address bar.
func (d *demo) gui() string {
	return "http://" + d.net.nodes[0].admin.String() + "/#token=" + d.token
}

func (d *demo) admins() []string {
	var out []string
	for _, n := range d.net.nodes {
		out = append(out, "http://"+n.admin.String())
	}
	return out
}

func (d *demo) writeFile() error {
	raw, err := json.MarshalIndent(d.describe(), "", " ")
	if err != nil {
		return fmt.Errorf("demo: demo.json: %w", err)
	}
	return replaceFile(filepath.Join(d.dir, "demo.json"), append(raw, '\n'))
}

const text = `
The cluster is up: {{len .D.Nodes}} nodes, {{len .D.VIPs}} virtual addresses.

  site     {{.D.Site}}{{range .Others}}  {{.}}{{end}}
{{if .D.Player}}  film     {{.D.Player}}
{{end}}  picture  {{.Picture}}
  status   {{.Ctl}} --cluster {{.File}} status
  watch    {{.Ctl}} watch {{.D.Site}} --every 5ms --for 30s

Now pull a plug. The site stays up{{if .D.Player}}, the film goes on{{end}}:
{{range .D.Nodes}}
  {{.Name}}  pid {{.PID}}  {{.HTTP}}  kill -9 {{.PID}}{{end}}

or freeze, thaw, stop and start one (verbs: crash freeze thaw stop start):

  curl -X POST -H 'Authorization: Bearer {{.D.Token}}' {{.D.Control}}/nodes/n1/crash
  curl -X POST -H 'Authorization: Bearer {{.D.Token}}' {{.D.Control}}/nodes/n1/start

All of this is in {{.File}}, logs are in {{.D.Dir}}/n*/node.log.
Ctrl-C stops everything.
`

var textTemplate = template.Must(template.New("demo").Parse(text))

// tell prints what to open and what to kill.
func (d *demo) tell() error {
	in := struct {
		D         description
		Ctl, File string
		Others    []string
		Picture   string
	}{D: d.describe(), Ctl: "rainctl", File: filepath.Join(d.dir, "demo.json"), Picture: d.gui()}
	if ctl := filepath.Join(filepath.Dir(d.o.Exe), "rainctl"); exists(ctl) {
		in.Ctl = ctl
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, ctl); err == nil && !strings.HasPrefix(rel, "..") {
				in.Ctl = rel
			}
		}
	}
	for _, v := range d.net.vips[min(1, len(d.net.vips)):] {
		in.Others = append(in.Others, "http://"+v.String()+"/")
	}
	if err := textTemplate.Execute(d.o.Stdout, in); err != nil {
		return fmt.Errorf("demo: print: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
