package labtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/host/bulk"
)

const (
	helperEnv = "RAIN_LABTEST_HELPER"
	bulkPort  = 7500
)

func bulkKey() []byte { return bytes.Repeat([]byte{3}, bulk.KeySize) }

func bulkAddrs(host int) (out []netip.AddrPort) {
	for link := range 2 {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, byte(link + 1), byte(host)}), bulkPort))
	}
	return out
}

// TestHelper is no test: it is what runs in the hosts, see TestBulkOverTwoLinks.
func TestHelper(t *testing.T) {
	switch os.Getenv(helperEnv) {
	case "":
		t.Skip("no helper")
	case "serve":
		if err := serveBulk(t.Context()); err != nil {
			t.Fatal(err)
		}
	default:
		var n, links int
		_, err := fmt.Sscanf(os.Getenv(helperEnv), "%d bytes %d links", &n, &links)
		if err == nil {
			err = fetchBulk(t.Context(), n, links)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// serveBulk sends as many bytes as it is asked for, in host 1, until it is killed.
func serveBulk(ctx context.Context) error {
	cfg := bulk.DefaultConfig()
	cfg.Key, cfg.ID, cfg.Listen = bulkKey(), 1, bulkAddrs(1)
	s, err := bulk.NewServer(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	s.Handle("source", func(_ context.Context, _ ring.NodeID, conn net.Conn) {
		var n int64
		if json.NewDecoder(conn).Decode(&n) == nil {
			_, _ = io.Copy(conn, io.LimitReader(zeros{}, n)) // the client sees what is missing
		}
	})
	fmt.Println("ready")
	return s.Run(ctx)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// fetchBulk gets n bytes, in host 2, and prints how many seconds it took.
func fetchBulk(ctx context.Context, n, links int) error {
	c, err := bulk.NewClient(bulkKey(), 2)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetLocal(bulkAddrs(2)[:links])
	c.SetPeer(1, bulkAddrs(1)[:links])
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	start := time.Now()
	err = c.Call(ctx, 1, "source", func(conn net.Conn) error {
		if err := json.NewEncoder(conn).Encode(n); err != nil {
			return err
		}
		got, err := io.Copy(io.Discard, io.LimitReader(conn, int64(n)))
		if err == nil && got != int64(n) {
			err = fmt.Errorf("%d bytes of %d", got, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("took %.3f\n", time.Since(start).Seconds())
	return nil
}

// fetch runs fetchBulk in host 2.
func (l *lab) fetch(n, links int) (seconds float64, err error) {
	out, err := l.helper("n2", fmt.Sprintf("%d bytes %d links", n, links)).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s%s", err, out, exit.Stderr)
		}
		return 0, err
	}
	_, err = fmt.Sscanf(string(out), "took %f", &seconds)
	return seconds, err
}

func (l *lab) helper(host, what string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin.dir, "lab"), "--dir", l.dir, "exec", host, self, "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	return cmd
}

// TestBulkOverTwoLinks: cables of a limited rate; two carry nearly twice what one
// does, and one that dies midway fails nothing. What else runs on the machine only
// makes it slower: the best of some rounds counts.
func TestBulkOverTwoLinks(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0), "--empty")
	server := l.helper("n1", "serve")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait() // killed
	}()
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	for _, rate := range []int{4_000_000, 12_000_000} {
		best := 0.0
		for range 5 {
			if best = max(best, l.bulkRound(rate)); best >= 1.9 {
				break
			}
		}
		if best < 1.9 {
			t.Errorf("cables of %.1f MB/s: two links are at best %.2f times as fast as one", float64(rate)/1e6, best)
		}
	}
}

// bulkRound measures once and returns how many times faster two links are.
func (l *lab) bulkRound(rate int) float64 {
	l.t.Helper()
	const seconds = 2 // over one link
	size := seconds * rate
	for _, c := range []string{"n1-s1", "n1-s2", "n2-s1", "n2-s2"} {
		l.do("rate", c, strconv.Itoa(rate))
	}
	one, err := l.fetch(size, 1)
	if err != nil {
		l.t.Fatal(err)
	}
	both, err := l.fetch(size, 2)
	if err != nil {
		l.t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() { // ends by itself, and is waited for below
		time.Sleep(600 * time.Millisecond)
		_, err := l.try("cut", "n2-s1")
		died <- err
	}()
	dying, err := l.fetch(size, 2)
	if err != nil {
		l.t.Errorf("a link died midway: %v", err)
	}
	if err := <-died; err != nil {
		l.t.Fatal(err)
	}
	l.do("heal", "n2-s1")
	mb := func(seconds float64) float64 { return float64(size) / 1e6 / seconds }
	l.t.Logf("%.0f MB over cables of %.1f MB/s: one link %.2f MB/s, two %.2f MB/s (%.2f times), one of two dying after 0.6 s %.2f MB/s",
		float64(size)/1e6, float64(rate)/1e6, mb(one), mb(both), one/both, mb(dying))
	return one / both
}
