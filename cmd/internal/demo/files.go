package demo

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"rain/cmd/internal/cli"
	"rain/conf"
)

// network are the addresses of a demo.
type network struct {
	nodes   []nodeAddrs
	vips    []netip.AddrPort
	control netip.AddrPort
}

type nodeAddrs struct {
	name, id        string
	web, admin, lnk netip.AddrPort
}

// plan gives everything its address: node i 127.0.0.(10+i), VIP j 127.0.1.j, or
// consecutive ports of 127.0.0.1 where that is all there is.
func plan(o Options, many bool) network {
	var n network
	taken := map[int]bool{}
	one := func(port int) netip.AddrPort {
		for taken[port] {
			port++
		}
		taken[port] = true
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	}
	for i := 1; i <= o.Nodes; i++ {
		a := nodeAddrs{name: fmt.Sprintf("n%d", i), id: fmt.Sprintf("0.1.0.%d", i)}
		if many {
			ip := netip.AddrFrom4([4]byte{127, 0, 0, byte(10 + i)})
			a.web = netip.AddrPortFrom(ip, uint16(o.Port))
			a.admin = netip.AddrPortFrom(ip, uint16(o.AdminPort))
			a.lnk = netip.AddrPortFrom(ip, uint16(o.RingPort))
		} else {
			a.web, a.admin, a.lnk = one(o.Port), one(o.AdminPort), one(o.RingPort)
		}
		n.nodes = append(n.nodes, a)
	}
	if !many {
		n.control = one(o.AdminPort)
		return n
	}
	for j := 1; j <= o.VIPs; j++ {
		n.vips = append(n.vips, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(j)}), uint16(o.Port)))
	}
	n.control = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 10}), uint16(o.AdminPort))
	return n
}

// manyLoopbacks reports whether this machine has all of 127.0.0.0/8.
func manyLoopbacks() bool {
	ln, err := net.Listen("tcp", "127.0.0.11:0")
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// prepare plans, checks that every address is free, and writes all files.
func (d *demo) prepare() error {
	d.net = plan(d.o, manyLoopbacks() && hasVIPs)
	if err := d.checkFree(); err != nil {
		return err
	}
	if err := d.checkKept(); err != nil {
		return err
	}
	if err := d.secrets(); err != nil {
		return err
	}
	for i, a := range d.net.nodes {
		dir := filepath.Join(d.dir, a.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		path := filepath.Join(dir, "node.toml")
		if err := replaceFile(path, []byte(d.nodeFile(i))); err != nil {
			return err
		}
		if _, err := conf.Load(path); err != nil {
			return fmt.Errorf("demo: the file it wrote itself: %w", err) // such as an unknown --preset
		}
		d.procs = append(d.procs, &proc{demo: d, addrs: a, dir: dir, state: stopped, argv: []string{d.o.Exe, "run", "--config", path}})
	}
	return nil
}

// checkFree finds an address in use before anything is started.
func (d *demo) checkFree() error {
	try := func(network string, a netip.AddrPort) error {
		var err error
		if network == "udp" {
			var c net.PacketConn
			if c, err = net.ListenPacket("udp", a.String()); err == nil {
				return c.Close()
			}
		} else {
			var ln net.Listener
			if ln, err = net.Listen("tcp", a.String()); err == nil {
				return ln.Close()
			}
		}
		if cli.Classify(err).Exit == cli.InUse {
			return cli.New(cli.InUse, "in_use", "is another demo running? choose other ports with --port, --admin-port, --ring-port", "demo: %s %s is in use: %w", network, a, err)
		}
		return fmt.Errorf("demo: %w", err)
	}
	var errs []error
	for _, n := range d.net.nodes {
		errs = append(errs, try("tcp", n.web), try("tcp", n.admin), try("tcp", n.lnk), try("udp", n.lnk))
	}
	for _, v := range d.net.vips {
		errs = append(errs, try("tcp", v))
	}
	for _, err := range append(errs, try("tcp", d.net.control)) {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkKept refuses a kept folder of a cluster with another number of nodes: its
// founders would not be these.
func (d *demo) checkKept() error {
	raw, err := os.ReadFile(filepath.Join(d.dir, "demo.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var old description
	if err == nil {
		err = json.Unmarshal(raw, &old)
	}
	if err != nil {
		return cli.New(cli.BadInput, "bad_input", "choose another --dir, or remove that one", "demo: %s/demo.json of an earlier run: %w", d.dir, err)
	}
	if len(old.Nodes) != d.o.Nodes {
		return cli.New(cli.BadInput, "bad_input", fmt.Sprintf("run with --nodes %d, or choose another --dir", len(old.Nodes)),
			"demo: %s holds a cluster of %d nodes, not %d", d.dir, len(old.Nodes), d.o.Nodes)
	}
	return nil
}

// secrets makes the cluster's key and the admin token, or takes those of an
// earlier run.
func (d *demo) secrets() error {
	random := make([]byte, 32+16)
	_, _ = rand.Read(random) // never fails
	key, token := base64.StdEncoding.EncodeToString(random[:32])+"\n", hex.EncodeToString(random[32:])+"\n"
	if _, err := keepOrWrite(filepath.Join(d.dir, "cluster.key"), key); err != nil {
		return err
	}
	kept, err := keepOrWrite(filepath.Join(d.dir, "admin.token"), token)
	d.token = strings.TrimSpace(kept)
	return err
}

func keepOrWrite(path, content string) (string, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		return string(raw), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("demo: %w", err)
	}
	return content, replaceFile(path, []byte(content))
}

// replaceFile writes a file of mode 0600 by rename, so that a reader sees the
// old one or the new one. It does not survive a power cut, nor need it to.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // CreateTemp's mode is 0600
	if err != nil {
		return fmt.Errorf("demo: write %s: %w", path, err)
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("demo: write %s: %w", path, err)
	}
	return nil
}

// nodeFile is the config of node i (from 0). All its paths are relative to it.
func (d *demo) nodeFile(i int) string {
	var founders, peers, vips []string
	for _, n := range d.net.nodes {
		founders = append(founders, fmt.Sprintf("%q", n.id))
		peers = append(peers, fmt.Sprintf("[[peer]]\nid = %q\nname = %q\nlinks = [\"%s\"]\n", n.id, n.name, n.lnk))
	}
	for _, v := range d.net.vips {
		vips = append(vips, fmt.Sprintf(`"%s/32"`, v.Addr()))
	}
	vip := "[vip]\ndriver = \"none\"\n"
	if len(vips) > 0 {
		vip = fmt.Sprintf("[vip]\ndriver = \"loopback\"\n\n[[vip.pool]]\nname = \"web\"\naddresses = [%s]\n", strings.Join(vips, ", "))
	}
	n := d.net.nodes[i]
	return fmt.Sprintf(`# Written by 'rainvideo demo'; the next run writes it again.

[node]
name = %q
id = %q
data = "data"

[cluster]
name = "demo"
key_file = "../cluster.key"
preset = %q
founders = [%s]

[[link]]
name = "a"
listen = "%s"

%s
[web]
listen = ["%s"]
vip_port = %d
node_header = true
guestbook = true

[admin]
listen = "%s"
token_file = "../admin.token"
metrics_public = true

[store]
reserve_bytes = 67108864

[fault]
allow = true

%s`, n.name, n.id, d.o.Preset, strings.Join(founders, ", "), n.lnk, strings.Join(peers, "\n"), n.web, d.o.Port, n.admin, vip)
}
