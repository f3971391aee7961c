package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rain/demos/lab/engine"
	"rain/demos/lab/plan"
	"rain/demos/lab/show"
	"rain/snow/admin"
)

const (
	lookEvery = 2 * time.Second
	// settle is how long all is left whole at the beginning and at the end.
	settle = 5 * time.Second
)

// stage is a show that goes on.
type stage struct {
	*showCmd
	self  string
	plan  *plan.Plan
	start time.Time
	doors map[string]*engine.Door
	token string
	runs  *heard // the browser's film; nil: there is no browser

	mu    sync.Mutex
	story show.Story
}

// Run breaks the laboratory that is up in Dir while films play, and tells of it.
func (c *showCmd) Run(ctx context.Context, w io.Writer) error {
	s := &stage{showCmd: c, doors: map[string]*engine.Door{}}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer func() {
		for _, d := range s.doors {
			d.Close()
		}
	}()
	b, err := show.NewBreaker(show.Config{
		Plan: s.plan, Seed: c.Seed, Least: c.Least, Near: c.Near, Viewers: c.Play, AtOnce: c.AtOnce,
		Every: c.Every, Shortest: c.Shortest, Longest: c.Longest,
	})
	if err != nil {
		return err
	}
	s.start = time.Now()
	s.story = show.Story{API: 1, Net: s.plan.Name, Started: s.start.UTC(), Least: c.Least, Near: c.Near}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { s.look(ctx) })
	for _, host := range c.Play {
		wg.Go(func() { s.keep(s.play(ctx, host)) })
	}
	for i, url := range c.Watch {
		wg.Go(func() { s.keep(s.watch(whole, fmt.Sprintf("client hls %d", i+1), url)) })
	}
	if c.Page != "" {
		s.runs = &heard{first: make(chan struct{})}
		wg.Go(func() { s.keep(s.browse(whole, "client Chromium", c.Page)) })
	}
	err = s.breakAll(ctx, b)
	wg.Wait()
	s.story.Seconds = time.Since(s.start).Seconds()
	return errors.Join(err, s.tell(w))
}

// prepare reads what is up.
func (s *stage) prepare(ctx context.Context) error {
	var err error
	if s.self, err = os.Executable(); err != nil {
		return err
	}
	text, err := os.ReadFile(s.Topology)
	if err != nil {
		return err
	}
	if s.plan, err = plan.Parse(string(text)); err != nil {
		return err
	}
	var st engine.Status
	if err := call(ctx, s.Dir, http.MethodGet, "/status", nil, &st); err != nil {
		return err
	}
	s.token = st.Cluster.Token
	for _, h := range s.plan.Nodes() {
		if s.doors[h.Name], err = engine.NewDoor(s.Dir, h.Name, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// breakAll does what the breaker says until shortly before the end, then mends all.
func (s *stage) breakAll(ctx context.Context, b *show.Breaker) error {
	open := map[string]int{} // faults that go on, by their place in the story
	act := func(a show.Action) error {
		verbs := map[show.Kind][2]string{
			show.Link: {"cut", "heal"}, show.Interface: {"cut", "heal"}, show.Switch: {"crash", "start"},
			show.Crash: {"crash", "start"}, show.Freeze: {"freeze", "thaw"},
		}
		verb := verbs[a.Kind][0]
		if a.Mend {
			verb = verbs[a.Kind][1]
		}
		o := engine.Order{Name: a.What, OneWay: a.Kind == show.Interface}
		// Also after the end: what is broken must be mended.
		if err := call(context.WithoutCancel(ctx), s.Dir, http.MethodPost, "/"+verb, o, nil); err != nil {
			return fmt.Errorf("%s %s: %w", verb, a.What, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		at := time.Since(s.start).Seconds()
		if a.Mend {
			s.story.Faults[open[a.What]].To = at
		} else {
			open[a.What] = len(s.story.Faults)
			s.story.Faults = append(s.story.Faults, show.Span{What: a.What, Kind: a.Kind, From: at, To: at})
		}
		return nil
	}
	if s.runs != nil {
		select { // a busy machine takes its time to start a browser
		case <-s.runs.first:
		case <-time.After(patience):
		case <-ctx.Done():
		}
	}
	var errs []error
	wait := settle
	for {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		now := time.Since(s.start)
		if ctx.Err() != nil || now > s.For-settle {
			break
		}
		acts, wake, err := b.Step(now)
		if err != nil {
			return err
		}
		for _, a := range acts {
			errs = append(errs, act(a))
		}
		wait = wake - now
	}
	for _, a := range b.End() {
		errs = append(errs, act(a))
	}
	<-ctx.Done()
	return errors.Join(errs...)
}

func (s *stage) keep(v show.Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.story.Viewers = append(s.story.Viewers, v)
}

// look samples the primary view.
func (s *stage) look(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		sample := s.sample(ctx)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		s.story.Views = append(s.story.Views, sample)
		s.mu.Unlock()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *stage) sample(ctx context.Context) show.Sample {
	out := show.Sample{At: time.Since(s.start).Seconds()}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, d := range s.doors {
		wg.Go(func() {
			st, err := ask(ctx, d, s.token)
			if err != nil || !st.Ring.Primary {
				return // crashed, frozen or alone
			}
			members := 0
			for _, m := range st.Members {
				if m.Incarnation != 0 && m.State != "down" {
					members++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if st.Ring.View > out.View {
				out.View, out.Members = st.Ring.View, members
			}
		})
	}
	wg.Wait()
	return out
}

func ask(ctx context.Context, d *engine.Door, token string) (st admin.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8081/api/v1/status", nil)
	if err != nil {
		return st, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := d.Do(req)
	if err != nil {
		return st, err
	}
	defer func() { _ = resp.Body.Close() }() // all of it is read
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// tell writes the report, the picture and the whole story as JSON, and fails if a
// viewer noticed anything.
func (s *stage) tell(w io.Writer) error {
	if err := os.MkdirAll(s.Out, 0o755); err != nil {
		return err
	}
	slices.SortFunc(s.story.Viewers, func(a, b show.Seen) int { return strings.Compare(a.Name, b.Name) })
	var words, picture bytes.Buffer
	whole, err := json.MarshalIndent(&s.story, "", " ")
	if err = errors.Join(err, s.story.Write(&words), s.story.SVG(&picture)); err != nil {
		return err
	}
	for name, b := range map[string][]byte{"report.txt": words.Bytes(), "picture.svg": picture.Bytes(), "story.json": whole} {
		if err := os.WriteFile(filepath.Join(s.Out, name), b, 0o644); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", words.String(), filepath.Join(s.Out, "picture.svg")); err != nil {
		return err
	}
	if lost, _, failures := s.story.Lost(); lost > 0 || failures > 0 {
		return fmt.Errorf("lab: %.3f s of film lost, players gave up %d times, though enough nodes were connected", lost, failures)
	}
	return nil
}
