//go:build unix

package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type stream struct {
	Session, Film, Rendition, Node string
	PositionS                      float64 `json:"position_s"`
	SentBytes                      int64   `json:"sent_bytes"`
	Moves                          int
}

// streamAt is a session as a node knows it.
func (c *cluster) streamAt(node int, session string) (stream, error) {
	a, err := c.try("GET", c.Nodes[node-1].Admin+"/api/v1/status", nil, nil)
	if err != nil {
		return stream{}, err
	}
	var s struct{ Streams []stream }
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		return stream{}, err
	}
	for _, x := range s.Streams {
		if x.Session == session {
			return x, nil
		}
	}
	return stream{}, fmt.Errorf("n%d does not know session %q: %+v", node, session, s.Streams)
}

// "A stream's id, film and position in status before and after its node's death:
// node changed, position not fallen."
func (c *cluster) testStreams(t *testing.T) {
	base := "http://" + c.VIPs[0] + "/video/demo/"
	follow := func(list, suffix string) string {
		for line := range strings.Lines(c.do(t, "GET", base+list, "", nil).body) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, suffix) {
				return line
			}
		}
		t.Fatalf("%s names no %s", list, suffix)
		return ""
	}
	media := follow("index.m3u8", "media.m3u8")
	first := follow(media, "seg-0.m4s")
	_, session, _ := strings.Cut(first, "s=")
	sender := ""
	segment := func(n int) error {
		a, err := c.try("GET", base+strings.Replace(first, "seg-0", fmt.Sprintf("seg-%d", n), 1), nil, nil)
		if err == nil && a.code != 200 {
			err = fmt.Errorf("segment %d: %d", n, a.code)
		}
		if err == nil {
			sender = a.header.Get("X-Rain-Node")
		}
		return err
	}
	for n := range 3 {
		if err := segment(n); err != nil {
			t.Fatal(err)
		}
	}
	var before stream
	eventually(t, "all nodes to know the session", func() error {
		for i := range c.Nodes {
			s, err := c.streamAt(i+1, session)
			if err != nil {
				return err
			}
			if s.Film != "demo" || s.Rendition != "hls" || s.Node != sender || s.PositionS != 4 || s.SentBytes == 0 {
				return fmt.Errorf("%s sends it: %+v", sender, s)
			}
			before = s
		}
		return nil
	})
	dead := int(before.Node[1] - '0')
	if got := c.control(t, before.Node+"/crash"); got != 200 {
		t.Fatalf("crash: %d", got)
	}
	c.state(t, dead, "crashed")
	alive := dead%4 + 1
	eventually(t, "another node to have the session", func() error {
		s, err := c.streamAt(alive, session)
		if err != nil {
			return err
		}
		if s.PositionS < before.PositionS || s.Film != "demo" {
			t.Errorf("the position fell: %+v, then %+v", before, s)
		}
		if s.Node == before.Node || s.Moves == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	eventually(t, "the next segment", func() error { return segment(3) })
	eventually(t, "the session at who sends it now", func() error {
		s, err := c.streamAt(alive, session)
		if err != nil {
			return err
		}
		if s.Node != sender || s.PositionS != 6 || s.SentBytes <= before.SentBytes {
			return fmt.Errorf("%s sends it: %+v", sender, s)
		}
		return nil
	})
	if text := c.do(t, "GET", c.Nodes[alive-1].Admin+"/metrics", "", nil).body; strings.Contains(text, "\nrain_streams 0\n") || !strings.Contains(text, "\nrain_streams_taken_total ") {
		t.Error("the metrics know of no stream")
	}
	if got := c.control(t, before.Node+"/start"); got != 200 {
		t.Fatalf("start: %d", got)
	}
	c.healthy(t)
	played := object(t, want(t, 0, "rainvideo", "play", "demo", "--cluster", c.file(), "--to", t.TempDir()+"/film.mp4", "--json", "--quiet").stdout)
	id, _ := played["session"].(string)
	eventually(t, "the session of 'rainvideo play'", func() error {
		s, err := c.streamAt(1, id)
		if err == nil && (s.Rendition != "play" || s.Film != "demo" || s.SentBytes != int64(played["size_bytes"].(float64))) {
			err = errors.New(fmt.Sprint(s))
		}
		return err
	})
}
