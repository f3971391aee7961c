//go:build unix

package contract

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rain/assets"
)

// TestFilm plays films of one demo in all the ways there are.
func TestFilm(t *testing.T) {
	c := startDemo(t)
	t.Run("ffmpeg", c.testFFmpeg)
	t.Run("odd films", c.testOddFilms)
	t.Run("play through two kills", func(t *testing.T) { c.testPlay(t, "crash", "start") })
	t.Run("play through two freezes", func(t *testing.T) { c.testPlay(t, "freeze", "thaw") })
	t.Run("same segments everywhere", c.testSegments)
}

// longFilm is the demo's film with much behind it that players skip.
func longFilm() []byte {
	const padding = 48 << 20
	b := bytes.Clone(assets.DemoFilm())
	b = binary.BigEndian.AppendUint32(b, padding)
	b = append(b, "free"...)
	rng := rand.NewChaCha8([32]byte{1})
	more := make([]byte, padding-8)
	_, _ = rng.Read(more) // never fails
	return append(b, more...)
}

// testPlay: rainvideo reads the symbols of a film by itself, and goes on with any
// two of four nodes.
func (c *cluster) testPlay(t *testing.T, worst, mend string) {
	film := longFilm()
	file := filepath.Join(t.TempDir(), "long.mp4")
	poster := filepath.Join(t.TempDir(), "p.jpg")
	if err := errors.Join(os.WriteFile(file, film, 0o600), os.WriteFile(poster, assets.DemoPoster(), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.healthy(t)
	want(t, 0, "rainctl", "--cluster", c.file(), "video", "add", file, "--name", "long", "--poster", poster)
	cmd := exec.Command(program(t, "rainvideo"), "play", "long", "--cluster", c.file(), "--json", "--to", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // if it still runs
	sum := sha256.New()
	const first, second = 12 << 20, 24 << 20
	for _, step := range []struct {
		bytes int64
		order string
	}{{first, "n1/" + worst}, {second - first, "n3/" + worst}} {
		if _, err := io.CopyN(sum, out, step.bytes); err != nil {
			t.Fatalf("%v; %s", err, &said)
		}
		if code := c.control(t, step.order); code != 200 {
			t.Fatalf("%s: %d", step.order, code)
		}
	}
	n, err := io.Copy(sum, bufio.NewReader(out))
	if err = errors.Join(err, cmd.Wait()); err != nil || n+second != int64(len(film)) {
		t.Errorf("%d of %d bytes, %v; %s", n+second, len(film), err, &said)
	}
	if want := sha256.Sum256(film); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("what came has another sha256")
	}
	c.judgePlay(t, said.String(), second)
	for _, node := range []string{"n1", "n3"} {
		if code := c.control(t, node+"/"+mend); code != 200 {
			t.Errorf("%s %s: %d", mend, node, code)
		}
	}
	c.healthy(t)
}

// judgePlay looks at what play said: long after the second kill blocks come from
// the two nodes that are left, and blocks came from all before.
func (c *cluster) judgePlay(t *testing.T, said string, second int64) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(said), "\n")
	before := map[string]bool{}
	for _, line := range lines[:len(lines)-1] {
		var p struct {
			API, Block, Blocks, Offset, Bytes int64
			From                              []struct {
				Node   string
				Column int
			}
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil || p.API != 1 || p.Blocks == 0 || len(p.From) < 2 {
			t.Fatalf("%q: %v", line, err)
		}
		for _, f := range p.From {
			if p.Offset < second/2 {
				before[f.Node] = true
			} else if p.Offset > second+8<<20 && f.Node != "n2" && f.Node != "n4" {
				t.Errorf("block %d came from %s, which is gone", p.Block, f.Node)
			}
		}
	}
	if len(before) != 4 {
		t.Errorf("before the first kill blocks came from %v", before)
	}
	end := object(t, lines[len(lines)-1])
	shape(t, "play", sample(t, `{"film":"long","size_bytes":1,"sha256":"?","parts_from":{"n2":1}}`), end)
}

// testSegments: the same bytes from all nodes, and again when each of them was
// started anew.
func (c *cluster) testSegments(t *testing.T) {
	c.healthy(t)
	const folder = "/video/demo/"
	names := []string{"index.m3u8", "media.m3u8", "init.mp4", "film.mp4"}
	for _, line := range strings.Split(c.do(t, "GET", c.Nodes[0].HTTP+folder+"media.m3u8", "", nil).body, "\n") {
		if name, _, ok := strings.Cut(line, ".m4s"); ok {
			names = append(names, name+".m4s")
		}
	}
	if len(names) < 20 {
		t.Fatalf("the playlist has %d segments", len(names)-4)
	}
	first := map[string][32]byte{}
	compare := func(when string) {
		for _, name := range names {
			for _, n := range c.Nodes {
				eventually(t, name+" from "+n.Name, func() error {
					a, err := c.try("GET", n.HTTP+folder+name, nil, map[string]string{"Authorization": ""})
					if err != nil || a.code != 200 || a.header.Get("X-Rain-Node") != n.Name {
						return fmt.Errorf("%d from %q: %w", a.code, a.header.Get("X-Rain-Node"), err)
					}
					sum := sha256.Sum256([]byte(a.body))
					if was, ok := first[name]; ok && was != sum {
						t.Fatalf("%s: %s of %s differs", when, name, n.Name)
					}
					first[name] = sum
					return nil
				})
			}
		}
	}
	compare("at first")
	for i, n := range c.Nodes {
		how := []string{"stop", "crash"}[i%2]
		if code := c.control(t, n.Name+"/"+how); code != 200 {
			t.Fatalf("%s %s: %d", how, n.Name, code)
		}
		eventually(t, n.Name+" ended", func() error {
			if c.read(t); c.Nodes[i].State == "running" {
				return errors.New("it runs")
			}
			return nil
		})
		if code := c.control(t, n.Name+"/start"); code != 200 {
			t.Fatalf("start %s: %d", n.Name, code)
		}
		c.healthy(t)
	}
	compare("after the restart of each node")
}
