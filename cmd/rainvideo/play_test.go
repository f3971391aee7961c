package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/program"
	"rain/snow/admin"
)

// nodes are admin addresses that have one film; a dead one cuts connections.
type nodes struct {
	film []byte
	sum  string
	dead [3]atomic.Bool
	asks atomic.Int64
	then func(asks int64) // called with each part that is asked for
}

func (n *nodes) start(t *testing.T) (urls string) {
	var all []string
	for i := range n.dead {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.dead[i].Load() {
				panic(http.ErrAbortHandler)
			}
			switch r.URL.Path {
			case "/api/v1/videos/demo":
				_ = json.NewEncoder(w).Encode(admin.VideoAnswer{API: 1, Video: admin.Video{Name: "demo", Size: int64(len(n.film)), SHA256: n.sum, Object: ".video/demo/film.X"}})
			case "/api/v1/objects/.video/demo/film.X":
				if n.then != nil {
					n.then(n.asks.Add(1))
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(n.film))
			default:
				w.WriteHeader(404)
				_, _ = w.Write([]byte(`{"api":1,"error":{"code":"not_found","text":"no such film"}}`))
			}
		}))
		t.Cleanup(s.Close)
		all = append(all, s.URL)
	}
	return strings.Join(all, ",")
}

func play(t *testing.T, p Play) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = p.Run(&program.Env{Name: "rainvideo", Stdout: &out, Stderr: &said, Getenv: func(string) string { return "" }})
	return out.String(), said.String(), err
}

func newNodes() *nodes {
	n := &nodes{film: make([]byte, 5*partBytes+77)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n.film {
		n.film[i] = byte(rng.Uint32())
	}
	sum := sha256.Sum256(n.film)
	n.sum = hex.EncodeToString(sum[:])
	return n
}

// Two of three nodes die on the way; the film is whole nevertheless.
func TestPlayGoesOn(t *testing.T) {
	n := newNodes()
	n.then = func(asks int64) {
		if asks == 2 || asks == 4 {
			n.dead[asks/2-1].Store(true)
		}
	}
	out, said, err := play(t, Play{Film: "demo", To: "-", Admin: n.start(t)})
	if err != nil || out != string(n.film) || !strings.Contains(said, "sha256 as stored") {
		t.Errorf("%v, %d of %d bytes, %s", err, len(out), len(n.film), said)
	}
}

// A file of the name that was asked for is whole, or not there.
func TestPlayToFile(t *testing.T) {
	n := newNodes()
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
	n := newNodes()
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
