package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
)

const patience = 10 * time.Second

type message struct {
	from ring.Member
	body string
}

type verdict struct {
	ref uint64
	ok  bool
}

// node is a Transport under test with a sink that remembers.
type node struct {
	*Transport
	t        *testing.T
	mu       sync.Mutex
	msgs     []message
	verdicts []verdict
	outdated ring.Incarnation
	stop     func()
}

func (n *node) Message(from ring.Member, msg []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.msgs = append(n.msgs, message{from, string(msg)})
}

func (n *node) Verdict(ref uint64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.verdicts = append(n.verdicts, verdict{ref, ok})
}

func (n *node) got() []message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]message(nil), n.msgs...)
}

// verdict waits for the verdict on ref.
func (n *node) verdict(ref uint64) bool {
	n.t.Helper()
	var ok bool
	n.until("verdict", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, v := range n.verdicts {
			if v.ref == ref {
				ok = v.ok
				return true
			}
		}
		return false
	})
	return ok
}

func (n *node) until(what string, f func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%v: no %s within %v; stats %+v", n.me, what, patience, n.Stats())
		}
	}
}

func testConfig(links int) Config {
	cfg := DefaultConfig()
	cfg.Key = bytes.Repeat([]byte{1}, seal.KeySize)
	cfg.PingEvery = 20 * time.Millisecond
	cfg.SendTimeout = 500 * time.Millisecond // the machine that tests may be busy
	cfg.Link.DownAfter = 700 * time.Millisecond
	for i := range links {
		cfg.Links = append(cfg.Links, Link{Name: string(rune('a' + i)), Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	}
	return cfg
}

func start(t *testing.T, cfg Config, me ring.Member) *node {
	t.Helper()
	n := &node{t: t}
	cfg.OnOutdated = func(known ring.Incarnation) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.outdated = known
	}
	tr, err := Open(cfg, me, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	n.Transport = tr
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx, n) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

var (
	m1 = ring.Member{ID: 0x00010001, Inc: 100}
	m2 = ring.Member{ID: 0x00010002, Inc: 200}
)

func pairUp(t *testing.T, cfg Config) (a, b *node) {
	a, b = start(t, cfg, m1), start(t, cfg, m2)
	a.SetPeer(m2.ID, b.Addrs())
	b.SetPeer(m1.ID, a.Addrs())
	return a, b
}

func TestDelivery(t *testing.T) {
	for _, links := range []int{1, 2} {
		cfg := testConfig(links)
		cfg.SendTimeout = patience // only its end matters here
		a, b := pairUp(t, cfg)
		a.Send(ring.Member{ID: m2.ID}, []byte("first, before anything is known"), 1)
		if !a.verdict(1) {
			t.Fatal("the first message failed")
		}
		big := strings.Repeat("x", ring.MaxMessage)
		a.Send(m2, []byte(big), 2)
		if !a.verdict(2) {
			t.Fatal("the largest message failed")
		}
		for i := range uint64(50) {
			a.Send(m2, binary.BigEndian.AppendUint64(nil, i), 100+i)
			b.Send(m1, binary.BigEndian.AppendUint64(nil, i), 0)
		}
		b.until("52 messages", func() bool { return len(b.got()) == 52 })
		a.until("50 messages", func() bool { return len(a.got()) == 50 })
		got := b.got()
		if got[0].from != m1 || got[1].body != big {
			t.Errorf("from %v, %d bytes; want %v, %d", got[0].from, len(got[1].body), m1, len(big))
		}
		for i := range uint64(50) {
			if n := binary.BigEndian.Uint64([]byte(got[2+i].body)); n != i {
				t.Fatalf("message %d came as number %d", n, i)
			}
			if !a.verdict(100 + i) {
				t.Errorf("message %d: verdict of failure", i)
			}
		}
		a.until("paths up", func() bool {
			up := 0
			for _, p := range a.Stats().Paths {
				if p.Up && p.RTT > 0 && p.Peer == m2 {
					up++
				}
			}
			return up == links*links // every link with every address
		})
		a.stop()
		b.stop()
	}
}

func TestAddressInUse(t *testing.T) {
	a := start(t, testConfig(1), m1)
	cfg := testConfig(1)
	cfg.Links[0].Listen = a.Addrs()[0]
	_, err := Open(cfg, m2, slog.Default())
	if err == nil || !strings.Contains(err.Error(), a.Addrs()[0].String()) {
		t.Errorf("Open = %v, want an error that names %v", err, a.Addrs()[0])
	}
}

func TestSendFailures(t *testing.T) {
	a := start(t, testConfig(1), m1)
	a.Send(m2, []byte("x"), 1)
	if a.verdict(1) {
		t.Error("sent to a peer never heard of")
	}
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	a.SetPeer(m2.ID, []netip.AddrPort{dead.LocalAddr().(*net.UDPAddr).AddrPort()})
	a.Send(ring.Member{ID: m2.ID}, []byte("x"), 2)
	if a.verdict(2) {
		t.Error("sent to a peer that never answers")
	}
}

func TestNewIncarnation(t *testing.T) {
	a, b := pairUp(t, testConfig(1))
	a.Send(m2, []byte("one"), 1)
	if !a.verdict(1) {
		t.Fatal("first send failed")
	}
	next := m2
	next.Inc++
	b.SetMe(next)
	a.until("the new incarnation", func() bool { return a.Known(m2.ID) == next.Inc })
	a.Send(m2, []byte("to the dead"), 2)
	if a.verdict(2) {
		t.Error("a message to an old incarnation was delivered")
	}
	a.Send(next, []byte("two"), 3)
	if !a.verdict(3) {
		t.Error("a message to the new incarnation failed")
	}
	b.stop()
	// A process comes back with what it was before: it is told what others know.
	cfg := testConfig(1)
	late := start(t, cfg, m2)
	late.SetPeer(m1.ID, a.Addrs())
	a.SetPeer(m2.ID, late.Addrs())
	late.until("word of its newer incarnation", func() bool {
		late.mu.Lock()
		defer late.mu.Unlock()
		return late.outdated == next.Inc
	})
	late.SetMe(ring.Member{ID: m2.ID, Inc: next.Inc + 1})
	a.Send(ring.Member{ID: m2.ID, Inc: next.Inc + 1}, []byte("three"), 4)
	if !a.verdict(4) {
		t.Error("a message to a higher incarnation than known failed")
	}
	for _, m := range b.got() {
		if m.body == "to the dead" {
			t.Error("the new incarnation got what was for the old one")
		}
	}
}

func TestPeerIsLearned(t *testing.T) {
	a, b := start(t, testConfig(1), m1), start(t, testConfig(1), m2)
	b.SetPeer(m1.ID, a.Addrs())
	a.until("knowledge of the stranger", func() bool { return a.Known(m2.ID) == m2.Inc })
	a.Send(m2, []byte("hello"), 1)
	if !a.verdict(1) {
		t.Error("a message to a learned peer failed")
	}
}

func TestCutAndHeal(t *testing.T) {
	a, b := pairUp(t, testConfig(2))
	a.Send(m2, []byte("1"), 1)
	if !a.verdict(1) {
		t.Fatal("first send failed")
	}
	a.SetFault(m2.ID, "a", Fault{CutIn: true, CutOut: true})
	a.Send(m2, []byte("2"), 2)
	if !a.verdict(2) {
		t.Error("one cut link of two, and the message failed")
	}
	a.until("link a down, b up", func() bool {
		p := a.Stats().Paths
		return !p[0].Up && p[1].Up
	})
	b.SetFault(m1.ID, "", Fault{CutOut: true}) // b hears, a does not
	a.Send(m2, []byte("3"), 3)
	if a.verdict(3) {
		t.Error("no acknowledgement can come, and the verdict is OK")
	}
	b.until("the message all the same", func() bool { return len(b.got()) == 3 })
	b.ClearFaults()
	a.SetFault(m2.ID, "", Fault{})
	a.until("both links up", func() bool {
		p := a.Stats().Paths
		return p[0].Up && p[1].Up
	})
	a.Send(m2, []byte("4"), 4)
	if !a.verdict(4) {
		t.Error("healed, and the message failed")
	}
	b.SetFault(m1.ID, "", Fault{Drop: 50, Delay: time.Millisecond})
	a.SetFault(m2.ID, "", Fault{Drop: 30, Delay: time.Millisecond})
	for ref := uint64(10); ref < 20; ref++ {
		a.Send(m2, []byte("through the storm"), ref)
		a.verdict(ref)
	}
	if a.Stats().Dropped["fault"] == 0 {
		t.Error("no datagram was dropped")
	}
}

// stranger sends raw datagrams and tells whether anything comes back.
type stranger struct {
	net.PacketConn
	to net.Addr
}

func (s *stranger) send(b []byte) { s.WriteTo(b, s.to) }

func TestStrangersGetNoAnswer(t *testing.T) {
	a := start(t, testConfig(1), m1)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &stranger{conn, net.UDPAddrFromAddrPort(a.Addrs()[0])}
	wrong, _ := seal.NewKeyring(bytes.Repeat([]byte{9}, seal.KeySize))
	right, _ := seal.NewKeyring(testConfig(1).Key)
	count := func(reason string, want uint64) {
		t.Helper()
		a.until("count of "+reason, func() bool { return a.Stats().Dropped[reason] == want })
	}
	s.send([]byte("GET / HTTP/1.0\r\n\r\n"))
	count("malformed", 1)
	s.send(nil)
	count("malformed", 2)
	s.send(make([]byte, MaxDatagram+1))
	count("oversize", 1)
	s.send(wrong.SealHello(nil, seal.Hello{From: m2, To: m1.ID}))
	count("key", 1)
	s.send(right.Session(m2, m1).Seal(nil, []byte{1})) // nobody has introduced it
	count("unknown_peer", 1)
	s.send(right.SealHello(nil, seal.Hello{From: m2, To: 77}))
	count("unknown_peer", 2)
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := conn.ReadFrom(make([]byte, 2000)); err == nil {
		t.Fatalf("an answer of %d bytes to a stranger", n)
	}

	a.SetPeer(m2.ID, []netip.AddrPort{conn.LocalAddr().(*net.UDPAddr).AddrPort()})
	s.send(right.SealHello(nil, seal.Hello{From: m2, To: m1.ID, Known: m1.Inc}))
	a.until("the hello", func() bool { return a.Known(m2.ID) == m2.Inc })
	session := right.Session(m2, m1)
	// A fragment, sequence number 0, whole message "hi".
	packet := append([]byte{8 | 16}, make([]byte, 8+8+2)...)
	packet = append(packet, 0, 1, 'h', 'i')
	sealed := session.Seal(nil, packet)
	s.send(sealed)
	a.until("the message", func() bool { return len(a.got()) == 1 })
	s.send(sealed)
	count("replay", 1)
	s.send(wrong.Session(m2, m1).Seal(nil, packet))
	count("key", 2)
	s.send(session.Seal(nil, []byte("no packet")))
	count("malformed", 3)
	old := m2
	old.Inc--
	s.send(right.Session(old, m1).Seal(nil, packet))
	count("stale_incarnation", 1)
	me := m1
	me.Inc--
	s.send(right.Session(m2, me).Seal(nil, packet))
	count("stale_incarnation", 2)
	if n := len(a.got()); n != 1 {
		t.Errorf("%d messages delivered, want 1", n)
	}
}

func TestConfigFaults(t *testing.T) {
	if err := testConfig(2).Validate(); err != nil {
		t.Errorf("a good config: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"no links":      func(c *Config) { c.Links = nil },
		"same name":     func(c *Config) { c.Links[1].Name = "a" },
		"short key":     func(c *Config) { c.Key = []byte("x") },
		"payload":       func(c *Config) { c.Payload = 1400 },
		"send timeout":  func(c *Config) { c.SendTimeout = 0 },
		"ping":          func(c *Config) { c.PingEvery = 0 },
		"listen":        func(c *Config) { c.Links[0].Listen = netip.AddrPort{} },
		"short old key": func(c *Config) { c.OldKeys = [][]byte{{1}} },
	} {
		cfg := testConfig(2)
		spoil(&cfg)
		if tr, err := Open(cfg, m1, slog.Default()); err == nil {
			tr.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
