package witness

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"rain/conf"
	"rain/ring"
	"rain/ring/host/bulk"
)

var key = conf.Secret(bytes.Repeat([]byte{5}, conf.KeySize))

func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func run(t *testing.T, cfg Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
}

// ask tries until the witness listens.
func ask(t *testing.T, at netip.AddrPort, me ring.NodeID, q ring.WitnessAsk) ring.NodeID {
	t.Helper()
	c, err := bulk.NewClient(key, me)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetPeer(ID, []netip.AddrPort{at})
	for range 1000 {
		var named ring.NodeID
		if named, err = Ask(t.Context(), c, q); err == nil {
			return named
		}
	}
	t.Fatal(err)
	return 0
}

// One name a view, also after a restart, whoever asks then.
func TestNamesOnce(t *testing.T) {
	cfg := Config{Listen: freeAddr(t), Data: t.TempDir(), Keys: []conf.Secret{key}}
	stop := run(t, cfg)
	v7, v8, other := ring.WitnessAsk{Generation: 1, View: 7}, ring.WitnessAsk{Generation: 1, View: 8}, ring.WitnessAsk{Generation: 2, View: 7}
	if got := ask(t, cfg.Listen, 1, ring.WitnessAsk{}); got != 0 {
		t.Errorf("a ping named %s", got)
	}
	for _, c := range []struct {
		q         ring.WitnessAsk
		me, named ring.NodeID
	}{{v7, 1, 1}, {v7, 2, 1}, {v8, 2, 2}, {other, 2, 2}, {v7, 1, 1}} {
		if got := ask(t, cfg.Listen, c.me, c.q); got != c.named {
			t.Errorf("%+v asked by %s: %s, want %s", c.q, c.me, got, c.named)
		}
	}
	stop()
	stop = run(t, cfg)
	if got := ask(t, cfg.Listen, 2, v7); got != 1 {
		t.Errorf("after a restart it names %s", got)
	}
	stop()
}

// A file that does not read must not be taken for an empty one.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"{", `{"v":2}`} {
		if err := os.WriteFile(filepath.Join(dir, "witness.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Run(t.Context(), Config{Listen: freeAddr(t), Data: dir, Keys: []conf.Secret{key}}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("it starts with %q", text)
		}
	}
}

func TestKeepsTheNewest(t *testing.T) {
	r, err := openRegister(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(Keep) {
		r.named = append(r.named, name{1, i + 1, 1})
	}
	if _, err := r.ask(ring.WitnessAsk{Generation: 1, View: Keep + 1}, 2); err != nil {
		t.Fatal(err)
	}
	if len(r.named) != Keep || r.named[0].View != 2 {
		t.Errorf("%d names, the oldest of view %d", len(r.named), r.named[0].View)
	}
}
