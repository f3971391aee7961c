package netlab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// port of the labs' nodes; each is in a namespace of its own, so it clashes with
// nothing.
const port = 25000

// start builds the programs and runs a cluster of three.
func start(t *testing.T, ringNetwork bool) *Cluster {
	t.Helper()
	l := New(t, 3, ringNetwork)
	bin := os.Getenv("RAIN_BIN") // of programs that are built already
	if bin == "" {
		bin = t.TempDir()
		root, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		Build(t, root, bin)
	}
	return l.Start(bin, port)
}

// untilMoved waits until another node than the one before answers the observer.
// It is false if that cannot be: where this machine kept a node waiting for too
// long just before the fault, the ring had left it out, and the fault then took
// the quorum. That is for the ring's own tests.
func untilMoved(c *Cluster, o *Observer, from *Node) bool {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		o.mu.Lock()
		k := len(o.answers)
		moved := k > 0 && o.answers[k-1].MAC != from.MAC.String()
		o.mu.Unlock()
		if moved {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, n := range c.Nodes {
		if st, err := c.Status(n); n != from && err == nil && st.Ring.Primary {
			c.t.Fatalf("%s has a quorum, and the address of %s did not move within %s", n.Name, from.Name, patience)
		}
	}
	c.t.Logf("not judged: without %s no node has a quorum", from.Name)
	return false
}

// neighbour is the VIP's hardware address in the client's kernel.
func neighbour(t *testing.T, c *Cluster) string {
	out, err := c.Command(c.ClientNS(), "ip", "neigh", "show", c.VIP.Addr().String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, mac, _ := strings.Cut(string(out), "lladdr ")
	mac, _, _ = strings.Cut(mac, " ")
	return mac
}

// holding lists the nodes that have the VIP on eth0.
func holding(t *testing.T, c *Cluster) (names []string) {
	for _, n := range c.Nodes {
		out, err := c.Command(n.NS, "ip", "-o", "addr", "show", "dev", "eth0", "to", c.VIP.Addr().String()).Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(out) > 0 {
			names = append(names, n.Name)
		}
	}
	return names
}

// TestFailover: kill, freeze and unplug the holder. Another answers, the client's
// neighbour table knows, and no two stations answer.
func TestFailover(t *testing.T) {
	c := start(t, false)
	for _, fault := range []string{"kill", "stop", "link", "kill"} {
		t.Run(fault, func(t *testing.T) {
			from := c.Settled()
			if h := holding(t, c); !slices.Equal(h, []string{from.Name}) {
				t.Fatalf("the address is on %v, the holder is %s", h, from.Name)
			}
			o := c.Observe()
			c.Eventually("the holder answers", func() error {
				if o.Seen() == 0 {
					return fmt.Errorf("no answer")
				}
				return nil
			})
			var guard int
			moved := false
			w := c.Watch(4*time.Second, func() {
				switch fault {
				case "kill":
					guard = c.Guard(from)
					c.Signal(from, syscall.SIGKILL)
				case "stop":
					c.Signal(from, syscall.SIGSTOP)
				case "link":
					from.Unplug()
				}
				moved = untilMoved(c, o, from)
			})
			t.Logf("%s of %s: longest gap %.0f ms, %d ok, %d failed", fault, from.Name, w.LongestGap, w.OK, w.Failed)
			answers := o.Stop()
			if late, _, text := Two(answers); late > 0 {
				t.Errorf("%d answers of two stations: %s", late, text)
			}
			if mac := neighbour(t, c); moved && mac != answers[len(answers)-1].MAC {
				t.Errorf("the client's neighbour table says %s, %s answers", mac, answers[len(answers)-1].MAC)
			}
			if h := holding(t, c); moved && (len(h) != 1 || h[0] == from.Name) {
				t.Errorf("the address is on %v after the fault of %s", h, from.Name)
			}
			switch fault {
			case "kill":
				_ = c.Wait(from) // killed
				c.Eventually("the guard ends", func() error {
					if syscall.Kill(guard, 0) == nil {
						return fmt.Errorf("guard %d lives", guard)
					}
					return nil
				})
				c.Run(from)
			case "stop":
				c.Signal(from, syscall.SIGCONT)
			case "link":
				from.Plug()
			}
		})
	}
}

// TestThaw: the frozen holder wakes up and must not take the address back by
// what it had in mind.
func TestThaw(t *testing.T) {
	c := start(t, false)
	for range 3 {
		from := c.Settled()
		o := c.Observe()
		c.Signal(from, syscall.SIGSTOP)
		untilMoved(c, o, from)
		c.Signal(from, syscall.SIGCONT)
		time.Sleep(500 * time.Millisecond) // its chance to do wrong
		if late, _, text := Two(o.Stop()); late > 0 {
			t.Errorf("%d answers of two stations: %s", late, text)
		}
	}
}

// TestGuardFrozenToo: nobody is left to take the address off but the kernel.
func TestGuardFrozenToo(t *testing.T) {
	c := start(t, false)
	for range 3 {
		from := c.Settled()
		guard := c.Guard(from)
		o := c.Observe()
		time.Sleep(100 * time.Millisecond)
		c.Signal(from, syscall.SIGSTOP)
		if err := syscall.Kill(guard, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		untilMoved(c, o, from)
		time.Sleep(2 * time.Second)
		answers := o.Stop()
		if err := syscall.Kill(guard, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
		c.Signal(from, syscall.SIGCONT)
		late, overlap, _ := Two(answers)
		t.Logf("%d answers of two stations within %s", late, overlap)
		// The kernel keeps an address for 1 to 1.25 s after its last renewal; the rest
		// is for a machine that is late with it.
		if overlap > 3*time.Second {
			t.Errorf("the frozen node still answered %s after its successor", overlap)
		}
	}
}

// TestDrain: TERM hands over without a failed request over new connections. Kept
// ones are closed in order. A request that crosses the end of its connection on the
// way is lost, with this server as with any other: of two dozen, a few at most.
func TestDrain(t *testing.T) {
	c := start(t, false)
	allClosed, allLost := 0, 0
	for range 3 {
		from := c.Settled()
		o := c.Observe()
		keepers := c.Keep(8, 300*time.Millisecond)
		var told, ended time.Time
		w := c.Watch(3*time.Second, func() {
			told = time.Now()
			c.Signal(from, syscall.SIGTERM)
			if err := c.Wait(from); err != nil {
				t.Errorf("%s ended with %v", from.Name, err)
			}
			ended = time.Now()
		})
		t.Logf("TERM of %s: longest gap %.0f ms, %d ok, %d failed", from.Name, w.LongestGap, w.OK, w.Failed)
		st, err := c.Status(c.other(from))
		if err != nil || len(st.VIPs) != 1 {
			t.Fatalf("status %+v, %v", st, err)
		}
		// A node that this machine kept waiting for too long pauses, or is given up.
		// That is another matter, and answered elsewhere.
		failed := w.Between(told.Add(-100*time.Millisecond), ended.Add(100*time.Millisecond))
		if cause := st.VIPs[0].Cause; cause != "drain "+from.Name {
			t.Logf("not judged: the address went on, because of %q", cause)
		} else if len(failed) > 0 || w.OK == 0 {
			t.Errorf("requests failed while the address was handed over: %v; %s", failed, w.Raw)
		}
		ok, closed, lost := keepers.Stop()
		t.Logf("%d requests over kept connections, %d of which were closed in order, %d lost: %v", ok, closed, len(lost), lost)
		if cause := st.VIPs[0].Cause; cause == "drain "+from.Name {
			allClosed, allLost = allClosed+closed, allLost+len(lost)
			if closed == 0 {
				t.Error("no kept connection was closed in order")
			}
		}
		if late, _, text := Two(o.Stop()); late > 0 {
			t.Errorf("%d answers of two stations: %s", late, text)
		}
		c.Run(from)
	}
	if 4*allLost > allClosed {
		t.Errorf("%d kept connections were closed in order, and %d requests over such were lost", allClosed, allLost)
	}
}

// TestUnplugged: the holder's interface loses its carrier while its ring, on
// another network, goes on. It must give the address up, and may have it back.
func TestUnplugged(t *testing.T) {
	c := start(t, true)
	from := c.Settled()
	o := c.Observe()
	w := c.Watch(4*time.Second, func() {
		from.Unplug()
		untilMoved(c, o, from)
	})
	t.Logf("carrier of %s gone: longest gap %.0f ms, %d ok, %d failed", from.Name, w.LongestGap, w.OK, w.Failed)
	if out, err := c.ctl(c.Nodes[0], "ring", "events"); err != nil || !bytes.Contains(out, []byte("interface down ")) {
		t.Errorf("no event names an interface as the cause: %s, %v", out, err)
	}
	from.Plug()
	c.Eventually("the node is no longer excused", func() error {
		st, err := c.Status(c.Nodes[0])
		if err != nil {
			return err
		}
		for _, m := range st.Members {
			if m.State != "up" {
				return fmt.Errorf("%+v", st)
			}
		}
		return nil
	})
	if late, _, text := Two(o.Stop()); late > 0 {
		t.Errorf("%d answers of two stations: %s", late, text)
	}
}
