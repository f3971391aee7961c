package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"rain/demos/lab/show"
	"rain/demos/lab/viewer"
)

// patience is how much longer than its film a viewer may take to begin and end.
const patience = 20 * time.Second

// play shows the film in a host, by 'rainvideo play', again and again.
func (s *stage) play(ctx context.Context, host string) show.Seen {
	v := show.Seen{Name: host + " rainvideo play"}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, s.self, "--dir", s.Dir, "exec", host, s.Player, "play", s.Film, "--to", "-", "--quiet", "--cluster", filepath.Join(s.Dir, "lab.json"))
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = time.Second // it may be in the midst of a write that nobody reads
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		begun := time.Now()
		if err == nil {
			var r viewer.Report
			r, err = viewer.Pace(ctx, out, host, s.Rate, s.Ahead)
			v.Showings = append(v.Showings, r)
			err = errors.Join(err, cmd.Wait())
		}
		if err != nil && ctx.Err() == nil {
			v.Failures = append(v.Failures, viewer.Moment{At: begun.UTC(), MS: float64(time.Since(begun).Milliseconds()), Text: fmt.Sprintf("%v: %s", err, strings.TrimSpace(said.String()))})
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // somebody starts it again
			}
		}
	}
	return v
}

// watch shows an HLS film in the client. Its time begins when it runs, which on a
// busy machine is later than now: so it is not ended with the others.
func (s *stage) watch(ctx context.Context, name, url string) show.Seen {
	v := show.Seen{Name: name}
	left := time.Until(s.start.Add(s.For)) - time.Second
	ctx, cancel := context.WithTimeout(ctx, left+patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.self, "--dir", s.Dir, "exec", s.Client, s.self, "view", url, "--for", left.String(), "--ahead", s.Ahead.String(), "--again", "--give-up", "1500ms").Output()
	var r viewer.Report
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		v.Failures = append(v.Failures, viewer.Moment{At: s.start.UTC(), MS: float64(left.Milliseconds()), Text: err.Error()})
		return v
	}
	v.Showings = append(v.Showings, r)
	return v
}

// browse shows a film in a browser in the client. The script tells what it saw
// when its time is over, which takes the longer the less there is of a processor:
// so it has its patience, too.
func (s *stage) browse(ctx context.Context, name, url string) show.Seen {
	v := show.Seen{Name: name}
	defer s.runs.hear()
	if _, err := exec.LookPath("node"); err != nil {
		v.Skipped = "no node (the JavaScript one) is installed"
		return v
	}
	left := time.Until(s.start.Add(s.For)) - time.Second
	ctx, cancel := context.WithTimeout(ctx, left+patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.self, "--dir", s.Dir, "exec", s.Client, "node", s.Browser, url, "--for", fmt.Sprint(left.Seconds()))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its browser
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, s.runs
	leash, err := cmd.StdinPipe() // it ends with this process, however that ends
	if err == nil {
		err = cmd.Run()
		_ = leash.Close() // it is gone
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &v)
	}
	if err != nil {
		v.Failures = append(v.Failures, viewer.Moment{At: s.start.UTC(), MS: float64(left.Milliseconds()), Text: fmt.Sprintf("%v: %s", err, strings.TrimSpace(s.runs.said.String()))})
	}
	return v
}

// heard is what a program says, and when it said the first word.
type heard struct {
	said  bytes.Buffer // read it when the program has ended
	once  sync.Once
	first chan struct{}
}

func (h *heard) hear() { h.once.Do(func() { close(h.first) }) }

func (h *heard) Write(b []byte) (int, error) {
	h.hear()
	return h.said.Write(b)
}
