package bulk

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func knocker(t *testing.T, d Door) (at netip.AddrPort, s *Server) {
	t.Helper()
	s = serve(t, func(c *Config) { c.Door = d })
	return s.Addrs()[0], s
}

func pinOf(t *testing.T, key []byte) [32]byte {
	t.Helper()
	p, err := Pin(key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDoor(t *testing.T) {
	asked := make(chan string, 4)
	at, s := knocker(t, func(_ context.Context, from netip.AddrPort, request []byte) []byte {
		asked <- string(request)
		return append([]byte(from.Addr().String()+" "), request...)
	})
	got, err := Knock(t.Context(), at, pinOf(t, key), []byte("let me in"))
	if err != nil || string(got) != "127.0.0.1 let me in" {
		t.Fatalf("%q, %v", got, err)
	}
	<-asked
	if _, err := Knock(t.Context(), at, pinOf(t, otherKey), []byte("secret")); !errors.Is(err, ErrOtherKey) {
		t.Errorf("with another key's pin: %v", err)
	}
	if len(asked) != 0 {
		t.Error("a request was sent to one who had not proven the key")
	}
	if _, err := Knock(t.Context(), at, pinOf(t, key), []byte(strings.Repeat("x", maxRequest+1))); err == nil || len(asked) != 0 {
		t.Errorf("a request that is too large: %v", err)
	}
	// A stranger is no peer: his handshake gives him no service.
	if st := s.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}

func TestNoDoor(t *testing.T) {
	s := serve(t, nil)
	if got, err := Knock(t.Context(), s.Addrs()[0], pinOf(t, key), []byte("hello?")); err == nil {
		t.Errorf("answered with %q", got)
	}
}

// The pin of a key must never change: invitations and operators' notes have it.
func TestPinIsStable(t *testing.T) {
	a, b := pinOf(t, bytes.Repeat([]byte{3}, KeySize)), pinOf(t, bytes.Repeat([]byte{3}, KeySize))
	if a != b || a == pinOf(t, bytes.Repeat([]byte{4}, KeySize)) {
		t.Errorf("pins %x, %x", a, b)
	}
	if got := hex.EncodeToString(a[:8]); got != "9fbe8d71341a1208" {
		t.Errorf("pin begins with %s", got)
	}
}

// A cluster's key is changed in three steps; at each, whoever is a step behind
// or ahead is still served, and the old key alone no longer is at the end.
func TestKeyChange(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key, s.Addrs()...)
	late := client(t, key, s.Addrs()...)
	serves := func(c *Client) error {
		return c.Call(t.Context(), serverID, "echo", ask)
	}
	steps := [][][]byte{{key, otherKey}, {otherKey, key}, {otherKey}}
	for i, step := range steps {
		for _, set := range []func([]byte, ...[]byte) error{s.SetKeys, c.SetKeys} {
			if err := set(step[0], step[1:]...); err != nil {
				t.Fatal(err)
			}
			dropIdle(c)
			if err := serves(c); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
		}
		dropIdle(late)
		if err := serves(late); (err == nil) != (i < 2) {
			t.Errorf("step %d, one that kept the old key: %v", i, err)
		}
	}
	if err := s.SetKeys([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

// dropIdle forgets kept connections, so that the next call makes a new one.
func dropIdle(c *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		p.drop()
	}
}
