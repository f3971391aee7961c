package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A node's first address is silent: the second one is used, and is the first one
// to be tried the next time. A silent one that answers late is closed.
func TestDialTakesTheWayThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried atomic.Int32
		w := newWays()
		if err := w.add("http://10.0.1.1:81", []string{"http://10.0.2.1:81"}); err != nil {
			t.Fatal(err)
		}
		silent := "10.0.1.1:81"
		w.dials = func(ctx context.Context, _, addr string) (net.Conn, error) {
			tried.Add(1)
			if addr == silent {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			a, b := net.Pipe()
			_ = b.Close()
			return a, nil
		}
		for _, want := range []int32{2, 3} {
			c, err := w.dial(t.Context(), "tcp", "10.0.1.1:81")
			if err != nil || c == nil {
				t.Fatal(err)
			}
			_ = c.Close()
			if n := tried.Load(); n != want {
				t.Errorf("tried %d addresses, want %d", n, want)
			}
		}
		silent = "10.0.2.1:81"
		c, err := w.dial(t.Context(), "tcp", "10.0.1.1:81")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
}

func TestDialSaysAllFaults(t *testing.T) {
	w := newWays()
	if err := w.add("http://10.0.1.1:81", []string{"http://10.0.2.1:81"}); err != nil {
		t.Fatal(err)
	}
	one, two := errors.New("one"), errors.New("two")
	w.dials = func(_ context.Context, _, addr string) (net.Conn, error) {
		if addr == "10.0.1.1:81" {
			return nil, one
		}
		return nil, two
	}
	if _, err := w.dial(t.Context(), "tcp", "10.0.1.1:81"); !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("dial = %v", err)
	}
}
