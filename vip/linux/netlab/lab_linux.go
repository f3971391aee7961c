package netlab

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// Lab is a network. Its addresses: 10.77.0.0/24 on eth0 of client and nodes; with
// a ring network 10.78.0.0/24 on eth1 of the nodes.
type Lab struct {
	t      testing.TB
	name   string
	Dir    string // a scratch folder
	Client netip.Addr
	Nodes  []*Node
}

// Node is a place for a node.
type Node struct {
	lab    *Lab
	Name   string
	NS     string
	number int
	Addr   netip.Addr // on eth0
	Ring   netip.Addr // where its ring listens: Addr, or on eth1
	MAC    net.HardwareAddr
	cmd    *exec.Cmd
	log    *os.File
}

// ClientNS is the client's namespace.
func (l *Lab) ClientNS() string { return l.name + "c" }

func (l *Lab) hub() string { return l.name + "s" }

// New builds a network for that many nodes.
func New(t testing.TB, nodes int, ringNetwork bool) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped netlab: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped netlab: no 'ip' program (package iproute2)")
	}
	l := &Lab{t: t, name: fmt.Sprintf("rl%d", os.Getpid()), Dir: t.TempDir(), Client: netip.MustParseAddr("10.77.0.100")}
	if out, err := exec.Command("ip", "netns", "add", l.hub()).CombinedOutput(); err != nil {
		t.Skipf("skipped netlab: no network namespace can be made here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { l.ip("netns", "del", l.hub()) })
	bridges := []string{"br0"}
	if ringNetwork {
		bridges = append(bridges, "br1")
	}
	for _, b := range bridges {
		l.ip("-n", l.hub(), "link", "add", b, "type", "bridge")
		l.ip("-n", l.hub(), "link", "set", b, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
		l.ip("-n", l.hub(), "link", "set", b, "up")
	}
	l.namespace(l.ClientNS())
	l.plug(l.ClientNS(), "eth0", "br0", "pc", l.Client)
	for i := 1; i <= nodes; i++ {
		n := &Node{lab: l, Name: fmt.Sprintf("n%d", i), NS: fmt.Sprintf("%s%d", l.name, i), number: i, Addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(10 + i)})}
		l.namespace(n.NS)
		l.plug(n.NS, "eth0", "br0", fmt.Sprintf("p%d", i), n.Addr)
		n.Ring = n.Addr
		if ringNetwork {
			n.Ring = netip.AddrFrom4([4]byte{10, 78, 0, byte(10 + i)})
			l.plug(n.NS, "eth1", "br1", fmt.Sprintf("q%d", i), n.Ring)
		}
		l.In(n.NS, func() error {
			ifi, err := net.InterfaceByName("eth0")
			if err == nil {
				n.MAC = ifi.HardwareAddr
			}
			return err
		})
		l.Nodes = append(l.Nodes, n)
	}
	return l
}

// ip runs the program of that name.
func (l *Lab) ip(args ...string) {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
}

func (l *Lab) namespace(name string) {
	l.ip("netns", "add", name)
	l.t.Cleanup(func() { l.ip("netns", "del", name) })
	l.ip("-n", name, "link", "set", "lo", "up")
}

func (l *Lab) plug(ns, ifi, bridge, port string, addr netip.Addr) {
	l.ip("-n", l.hub(), "link", "add", port, "type", "veth", "peer", "name", ifi, "netns", ns)
	l.ip("-n", l.hub(), "link", "set", port, "master", bridge, "up")
	l.ip("-n", ns, "addr", "add", addr.String()+"/24", "dev", ifi)
	l.ip("-n", ns, "link", "set", ifi, "up")
}

// In runs f on a thread in a namespace, and fails the test with its error.
// Sockets that f opens stay in the namespace; goroutines that it starts do not.
func (l *Lab) In(ns string, f func() error) {
	l.t.Helper()
	if err := l.Try(ns, f); err != nil {
		l.t.Fatalf("in namespace %s: %v", ns, err)
	}
}

// Try is In with the error for the caller.
func (l *Lab) Try(ns string, f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h, err := netns.GetFromName(ns)
		if err != nil {
			errs <- fmt.Errorf("netlab: namespace %s: %w", ns, err)
			return
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			errs <- fmt.Errorf("netlab: enter namespace %s: %w", ns, err)
			return
		}
		errs <- f()
	}()
	return <-errs
}

// Command is a program to be run in a namespace; its pid is the program's own.
func (l *Lab) Command(ns, program string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns, program}, args...)...)
}

// Unplug takes the carrier from a node's eth0, at the switch.
func (n *Node) Unplug() {
	n.lab.ip("-n", n.lab.hub(), "link", "set", fmt.Sprintf("p%d", n.number), "down")
}

// Plug undoes Unplug.
func (n *Node) Plug() {
	n.lab.ip("-n", n.lab.hub(), "link", "set", fmt.Sprintf("p%d", n.number), "up")
}
