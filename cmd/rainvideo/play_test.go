package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/program"
	"rain/snow/admin"
	"rain/store"
	"rain/store/array"
	"rain/store/symbol"
)

// nodes are the admin addresses of a cluster that has one film, as columns of a
// code (4,2); a dead one cuts connections, a frozen one never answers.
type nodes struct {
	film    []byte
	sum     string
	columns [4][]byte // the symbol files, without trailers
	whole   bool      // the film is small: no columns
	down    [4]atomic.Int32
	asks    atomic.Int64
	then    func(asks int64) // called with each symbol file that is asked for
	urls    []string
}

const (
	dead = iota + 1
	frozen
)

func (n *nodes) start(t *testing.T) (urls string) {
	over := make(chan struct{})
	for i := range n.down {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch n.down[i].Load() {
			case dead:
				panic(http.ErrAbortHandler)
			case frozen:
				select {
				case <-over:
				case <-r.Context().Done():
				}
				panic(http.ErrAbortHandler)
			}
			n.serve(w, r, i)
		}))
		t.Cleanup(s.Close)
		n.urls = append(n.urls, s.URL)
	}
	t.Cleanup(func() { close(over) })
	return strings.Join(n.urls, ",")
}

func (n *nodes) serve(w http.ResponseWriter, r *http.Request, i int) {
	symbols := fmt.Sprintf("/api/v1/symbols/%s/0/%d", strings.Repeat("b", 64), i)
	switch r.URL.Path {
	case "/api/v1/videos/demo":
		_ = json.NewEncoder(w).Encode(admin.VideoAnswer{API: 1, Video: admin.Video{Name: "demo", Size: int64(len(n.film)), SHA256: n.sum, Object: ".video/demo/film.X"}})
	case "/api/v1/objects/.video/demo/film.X":
		if !r.URL.Query().Has("plan") {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(n.film))
			return
		}
		p := admin.PlanAnswer{API: 1, Info: store.Info{SHA256: n.sum, Size: int64(len(n.film)), N: 4, K: 2}, Columns: []admin.Column{}}
		for c := range n.columns {
			if !n.whole {
				p.Body, p.Unit = strings.Repeat("b", 64), unit
				p.Columns = append(p.Columns, admin.Column{Column: c, Node: fmt.Sprintf("n%d", c+1), Admin: n.urls[c]})
			}
		}
		_ = json.NewEncoder(w).Encode(p)
	case symbols:
		if n.then != nil {
			n.then(n.asks.Add(1))
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(n.columns[i]))
	default:
		w.WriteHeader(404)
		_, _ = w.Write([]byte(`{"api":1,"error":{"code":"not_found","text":"no such film"}}`))
	}
}

func play(t *testing.T, p Play) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = p.Run(&program.Env{Name: "rainvideo", Stdout: &out, Stderr: &said, Getenv: func(string) string { return "" }})
	return out.String(), said.String(), err
}

const unit = 4096

func newNodes(t *testing.T) *nodes {
	n := &nodes{film: make([]byte, 9<<20+77)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n.film {
		n.film[i] = byte(rng.Uint32())
	}
	sum := sha256.Sum256(n.film)
	n.sum = hex.EncodeToString(sum[:])
	code, err := array.New(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	l := array.Layout{Geometry: array.Geometry{N: 4, K: 2, Unit: unit}, Size: int64(len(n.film))}
	for b := range l.Blocks() {
		u, from := l.UnitLen(b), int(b*l.Block())
		padded := append(bytes.Clone(n.film[from:from+l.BlockLen(b)]), make([]byte, u)...)
		units := [][]byte{padded[:u], padded[u : 2*u], make([]byte, u), make([]byte, u)}
		if err := code.Encode(units); err != nil {
			t.Fatal(err)
		}
		for c := range units {
			n.columns[c] = binary.BigEndian.AppendUint32(append(n.columns[c], units[c]...), symbol.Checksum(units[c], c, b))
		}
	}
	return n
}

// Two of four nodes die on the way, or freeze; the film is whole nevertheless.
func TestPlayGoesOn(t *testing.T) {
	for name, how := range map[string]int32{"dead": dead, "frozen": frozen} {
		t.Run(name, func(t *testing.T) {
			n := newNodes(t)
			n.then = func(asks int64) {
				if asks == 5 || asks == 11 {
					n.down[asks/6*2].Store(how) // n1, then n3
				}
			}
			out, said, err := play(t, Play{Film: "demo", To: "-", Admin: n.start(t)})
			if err != nil || out != string(n.film) || !strings.Contains(said, "sha256 as stored") {
				t.Fatalf("%v, %d of %d bytes, %s", err, len(out), len(n.film), said)
			}
			if last := strings.Split(strings.TrimSpace(said), "\n"); !strings.Contains(last[len(last)-2], "n2:1") || !strings.Contains(last[len(last)-2], "n4:3") {
				t.Errorf("the last blocks came from others than n2 and n4: %s", said)
			}
		})
	}
}

// Units whose checksum does not hold are taken for lost.
func TestPlayDamaged(t *testing.T) {
	n := newNodes(t)
	for at := 100; at < len(n.columns[0]); at += 3 * (unit + symbol.SumLen) {
		n.columns[0][at] ^= 1
	}
	n.columns[1] = bytes.Repeat([]byte("x"), len(n.columns[1]))
	out, said, err := play(t, Play{Film: "demo", To: "-", JSON: true, Admin: n.start(t)})
	if err != nil || out != string(n.film) || !strings.Contains(said, `"from":[{"node":"n3","column":2},{"node":"n4","column":3}]`) && !strings.Contains(said, `"column":2`) {
		t.Errorf("%v, %d of %d bytes, %s", err, len(out), len(n.film), said)
	}
	if strings.Contains(said, `"node":"n2"`) {
		t.Errorf("n2 has no good unit: %s", said)
	}
}

// A small film lies whole on each node.
func TestPlaySmall(t *testing.T) {
	n := newNodes(t)
	n.whole = true
	urls := n.start(t)
	n.down[0].Store(dead)
	if out, said, err := play(t, Play{Film: "demo", To: "-", Admin: urls}); err != nil || out != string(n.film) {
		t.Errorf("%v, %d of %d bytes, %s", err, len(out), len(n.film), said)
	}
}

// Who is late comes last, for longer each time, and who came is forgiven.
func TestColumns(t *testing.T) {
	var c columns
	now := time.Unix(1e9, 0)
	order := func(at time.Duration, turn int64) string { return fmt.Sprint(c.order(now.Add(at), turn, 4, 2)) }
	for _, s := range []struct {
		do   func()
		at   time.Duration
		turn int64
		want string
	}{
		{func() {}, 0, 0, "[0 1 2 3]"},
		{func() {}, 0, 1, "[2 3 0 1]"},
		{func() { c.failed(now, 2) }, 0, 1, "[3 0 1 2]"},
		{func() { c.failed(now.Add(time.Second), 3); c.failed(now.Add(time.Second), 3) }, time.Second, 1, "[0 1 2 3]"},
		{func() {}, lateLeast, 1, "[2 0 1 3]"},
		{func() { c.failed(now.Add(lateLeast), 2) }, 2*lateLeast + time.Second, 1, "[3 0 1 2]"},
		{func() { c.came(2, time.Second) }, 2*lateLeast + time.Second, 1, "[2 3 0 1]"},
	} {
		if s.do(); order(s.at, s.turn) != s.want {
			t.Errorf("at %v turn %d: %s, want %s", s.at, s.turn, order(s.at, s.turn), s.want)
		}
	}
	if h := c.hedge(); h != hedgeMost {
		t.Errorf("a hedge after %v with answers after a second", h)
	}
	if h := new(columns).hedge(); h != hedgeFirst {
		t.Errorf("the first hedge after %v", h)
	}
}

// A file of the name that was asked for is whole, or not there.
func TestPlayToFile(t *testing.T) {
	n := newNodes(t)
	urls := n.start(t)
	file := filepath.Join(t.TempDir(), "f.mp4")
	out, _, err := play(t, Play{Film: "demo", To: file, Admin: urls, JSON: true})
	if got, e := os.ReadFile(file); err != nil || e != nil || !bytes.Equal(got, n.film) || !strings.Contains(out, `"parts_from":{`) {
		t.Errorf("%v, %v, %d bytes, %s", err, e, len(got), out)
	}
	n.sum = strings.Repeat("0", 64)
	other := filepath.Join(filepath.Dir(file), "g.mp4")
	if _, _, err := play(t, Play{Film: "demo", To: other, Admin: urls}); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a film with another hash: %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v %v", list, err)
	}
}

func TestPlayFails(t *testing.T) {
	n := newNodes(t)
	urls := n.start(t)
	for _, c := range []struct {
		p    Play
		exit cli.Exit
	}{
		{Play{Film: "none", To: "-", Admin: urls}, cli.NotFound},
		{Play{Film: "demo", To: "-"}, cli.Usage},
		{Play{Film: "demo", To: "-", Cluster: "no such file"}, cli.BadInput},
		{Play{Film: "demo", To: "no/such/folder/f", Admin: urls}, cli.BadInput},
		{Play{Film: "demo", To: "-", Admin: "http://127.0.0.1:1"}, cli.Unavailable},
	} {
		_, _, err := play(t, c.p)
		if e, ok := errors.AsType[*cli.Error](err); !ok || e.Exit != c.exit {
			t.Errorf("%+v: %v, want exit code %d", c.p, err, c.exit)
		}
	}
}

// Nobody reads the pipe that the film is written to: TERM ends play all the same.
func TestPlayStopsWhileStdoutIsFull(t *testing.T) {
	n := newNodes(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	full := make(chan struct{})
	var once sync.Once
	n.then = func(int64) { once.Do(func() { close(full) }) }
	p := Play{Film: "demo", To: "-", Admin: n.start(t), Quiet: true}
	ended := make(chan error, 1)
	go func() {
		var said bytes.Buffer
		ended <- p.run(ctx, &program.Env{Name: "rainvideo", Stdout: w, Stderr: &said, Getenv: func(string) string { return "" }})
	}()
	<-full                                             // the film is larger than any pipe
	if _, err := r.Read(make([]byte, 1)); err != nil { // and the write has begun
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-ended:
		if e := cli.Classify(err); e == nil || e.Code != "stopped" {
			t.Errorf("play ended with %v, want code stopped", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("play does not end")
	}
}
