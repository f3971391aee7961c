package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"rain/cmd/internal/cli"
	"rain/conf"
	"rain/ring"
)

type initCmd struct {
	Name    string   `arg:"" help:"Name of the cluster."`
	Dir     string   `arg:"" help:"Folder for the node's file, key and token; made if missing."`
	Node    string   `default:"n1" help:"Name of this node."`
	ID      string   `name:"id" default:"0.1.0.1" help:"Its id; later nodes get the next ones."`
	Listen  []string `placeholder:"IP[:PORT]" help:"The interfaces that the nodes meet on. Default: the one of this box that leads out, port 7400."`
	Web     string   `placeholder:"IP:PORT" help:"Where the sites are served on this node's own address. Default: the first interface, port 80 with real virtual addresses, else 8080."`
	AdminAt string   `name:"admin-listen" placeholder:"IP:PORT" help:"Where rainctl asks. Default: the first interface, port 8081."`
	VIP     []string `name:"vip" placeholder:"IP/LEN" help:"Virtual addresses that the cluster keeps up."`
	Iface   string   `name:"interface" help:"The interface that gets them. Default: the one in their network."`
	Witness string   `placeholder:"IP:PORT" help:"Where 'snow witness' listens, on a third box: then either of two nodes may die."`
	Policy  string   `default:"dynamic" enum:"dynamic,any" help:"Who acts when the cluster splits: dynamic, or any (see the documentation on who may die)."`
	Preset  string   `default:"lan" help:"The ring's times: fast, lan, laptop, wan."`
}

// files of a node's folder.
const (
	fileNode    = "node.toml"
	fileKey     = "cluster.key"
	fileToken   = "admin.token"
	fileCluster = "cluster.json" // for rainctl --cluster
)

func (c *initCmd) Run(a *app) error {
	id, err := ring.ParseNodeID(c.ID)
	if err != nil {
		return usage("--id: %w", err)
	}
	f := conf.Default()
	f.Node.Name, f.Node.ID = c.Node, id
	f.Cluster.Policy = c.Policy
	f.Cluster.Name, f.Cluster.Preset, f.Cluster.Founders = c.Name, c.Preset, []ring.NodeID{id}
	if c.Witness != "" {
		f.Cluster.Policy, f.Cluster.Witness = "witness", c.Witness
	}
	if f.Links, err = ownLinks(c.Listen, nil); err != nil {
		return err
	}
	if len(c.VIP) > 0 {
		if f.VIP, err = vipSection(c.VIP, c.Iface); err != nil {
			return err
		}
	}
	if err := addresses(f, c.Web, c.AdminAt, webPort(f.VIP.Driver), 8081); err != nil {
		return err
	}
	f.Web.VIPPort = int(f.Web.Listen[0].Port())
	key, token := make([]byte, conf.KeySize), make([]byte, 24)
	rand.Read(key) // never fails
	rand.Read(token)
	if err := writeNode(c.Dir, f, conf.FormatKeys(key), base64.RawURLEncoding.EncodeToString(token)); err != nil {
		return err
	}
	return a.madeNode(c.Dir, f, "", nil)
}

// madeNode says what was written and what to do next.
func (a *app) madeNode(dir string, f *conf.File, by string, extra func(io.Writer)) error {
	v := struct {
		API     int    `json:"api"`
		Dir     string `json:"dir"`
		File    string `json:"file"`
		Cluster string `json:"cluster"`
		Node    string `json:"node"`
		ID      string `json:"id"`
		Admin   string `json:"admin"`
		Web     string `json:"web"`
		By      string `json:"let_in_by,omitempty"`
	}{cli.API, dir, filepath.Join(dir, fileNode), f.Cluster.Name, f.Node.Name, f.Node.ID.String(), "http://" + f.Admin.Listen.String(), "http://" + f.Web.Listen[0].String() + "/", by}
	return a.print(v, func(w io.Writer) {
		if extra != nil {
			extra(w)
		}
		fmt.Fprintf(w, "%s: node %s (%s) of cluster %s, ring at %s, sites at %s\n\n", v.File, v.Node, v.ID, v.Cluster, f.Links[0].Listen, v.Web)
		fmt.Fprintf(w, "  snow run --config %s                        start it\n", v.File)
		fmt.Fprintf(w, "  rainctl --cluster %s status\n", filepath.Join(dir, fileCluster))
		if by == "" {
			fmt.Fprintf(w, "  rainctl --cluster %s invite                 let in the next box\n", filepath.Join(dir, fileCluster))
		}
	})
}

func webPort(driver string) uint16 {
	if driver == "linux" {
		return 80
	}
	return 8080
}

// addresses fills in where sites and orders are answered.
func addresses(f *conf.File, web, admin string, port, adminPort uint16) error {
	first := f.Links[0].Listen.Addr()
	at := func(flag, text string, port uint16) (netip.AddrPort, error) {
		if text == "" {
			return netip.AddrPortFrom(first, port), nil
		}
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return ap, usage("--%s %s: want an IP address and a port, such as 10.0.0.1:%d", flag, text, port)
		}
		return ap, nil
	}
	w, err := at("web", web, port)
	if err != nil {
		return err
	}
	f.Web.Listen = []netip.AddrPort{w}
	f.Admin.Listen, err = at("admin-listen", admin, adminPort)
	return err
}

// writeNode makes a node's folder. What is there already is never overwritten,
// and nothing is left behind if the file does not hold.
func writeNode(dir string, f *conf.File, keys []byte, token string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &cli.Error{Exit: cli.BadInput, Code: "bad_folder", Err: err}
	}
	if err := fresh(dir); err != nil {
		return err
	}
	f.Cluster.KeyFile, f.Admin.TokenFile = fileKey, fileToken
	admin := "http://" + f.Admin.Listen.String()
	if f.Admin.Listen.Addr().IsUnspecified() {
		admin = "http://" + netip.AddrPortFrom(f.Links[0].Listen.Addr(), f.Admin.Listen.Port()).String()
	}
	parts := []struct {
		name    string
		content []byte
	}{
		{fileKey, keys}, {fileToken, []byte(token + "\n")},
		{fileCluster, fmt.Appendf(nil, "{\"admin\":[%q],\"token\":%q}\n", admin, token)},
		{fileNode, conf.Render(f)},
	}
	defer func() {
		if err != nil {
			for _, p := range parts {
				_ = os.Remove(filepath.Join(dir, p.name)) // it was not there before
			}
		}
	}()
	for _, p := range parts {
		if err := conf.Replace(filepath.Join(dir, p.name), p.content); err != nil {
			return err
		}
	}
	_, err = conf.Load(filepath.Join(dir, fileNode))
	return err
}

// fresh refuses a folder that holds a node already.
func fresh(dir string) error {
	for _, name := range []string{fileNode, fileKey, fileToken, fileCluster} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return cli.New(cli.Conflict, "exists", "choose another folder; to make the node anew, move this one away", "%s is there already", filepath.Join(dir, name))
		}
	}
	return nil
}
