package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"rain/cmd/internal/cli"
)

var errNotReady = errors.New("not ready in time")

// status is what the demo needs of GET /api/v1/status.
type status struct {
	Ring struct {
		Primary bool   `json:"primary"`
		View    uint64 `json:"view"`
	} `json:"ring"`
	Members []struct {
		State string `json:"state"`
	} `json:"members"`
	VIPs []struct {
		Addr   string `json:"addr"`
		Holder string `json:"holder"`
	} `json:"vips"`
}

// untilReady asks every 50 ms. A node that ends meanwhile ends the wait: the
// demo starts no node twice.
func (d *demo) untilReady(ctx context.Context, what string, ready func(context.Context, *http.Client) error) error {
	client := &http.Client{
		Timeout:       2 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		why := ready(ctx, client)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errNotReady) {
				return cli.New(cli.Unavailable, "timeout", "see the node.log files in "+d.dir, "demo: %s: not within %s: %w", what, readyTimeout, why)
			}
			return ctx.Err()
		case p := <-d.dying:
			return p.obituary()
		case <-tick.C:
		}
	}
}

// obituary tells how a node ended that should run, with the end of its log.
func (p *proc) obituary() error {
	p.mu.Lock()
	code := p.exit
	p.mu.Unlock()
	exit := cli.Failed
	if e := cli.Exit(code); e == cli.BadInput || e == cli.InUse || e == cli.NoSpace {
		exit = e // the node's reason is ours
	}
	tail := ""
	if raw, err := os.ReadFile(p.log()); err == nil {
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		tail = "\n" + strings.Join(lines[max(0, len(lines)-5):], "\n")
	}
	return cli.New(exit, "", "see "+p.log(), "demo: node %s ended with code %d before the cluster was ready:%s", p.addrs.name, code, tail)
}

// clusterReady says what is missing to one view of all with every VIP held.
func (d *demo) clusterReady(ctx context.Context, client *http.Client) error {
	var view uint64
	for i, p := range d.procs {
		name, admin := p.addrs.name, "http://"+p.addrs.admin.String()
		if _, err := d.get(ctx, client, admin+"/readyz", "", http.StatusOK); err != nil {
			return fmt.Errorf("node %s is not ready: %w", name, err)
		}
		raw, err := d.get(ctx, client, admin+"/api/v1/status", "", http.StatusOK)
		if err != nil {
			return fmt.Errorf("node %s has no status: %w", name, err)
		}
		var s status
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("status of node %s: %w", name, err)
		}
		up := 0
		for _, m := range s.Members {
			if m.State == "up" {
				up++
			}
		}
		if !s.Ring.Primary || up != len(d.procs) {
			return fmt.Errorf("node %s sees %d of %d members up, primary %t", name, up, len(d.procs), s.Ring.Primary)
		}
		if i > 0 && s.Ring.View != view {
			return fmt.Errorf("node %s is in view %d, others in %d", name, s.Ring.View, view)
		}
		view = s.Ring.View
		held := 0
		for _, v := range s.VIPs {
			if v.Holder != "" {
				held++
			}
		}
		if held != len(d.net.vips) {
			return fmt.Errorf("node %s sees %d of %d VIPs held", name, held, len(d.net.vips))
		}
	}
	return d.askVIPs(ctx, client, "", 0)
}

// siteReady wants the site from every VIP.
func (d *demo) siteReady(ctx context.Context, client *http.Client) error {
	if len(d.net.vips) == 0 {
		_, err := d.get(ctx, client, d.site(), Host, http.StatusOK)
		return err
	}
	return d.askVIPs(ctx, client, "", http.StatusOK)
}

// filmReady wants the film from every VIP: its beginning, for who asks for a
// segment is a viewer.
func (d *demo) filmReady(ctx context.Context, client *http.Client) error {
	path := "video/" + FilmName + "/init.mp4"
	if len(d.net.vips) == 0 {
		_, err := d.get(ctx, client, d.site()+path, Host, http.StatusOK)
		return err
	}
	return d.askVIPs(ctx, client, path, http.StatusOK)
}

func (d *demo) askVIPs(ctx context.Context, client *http.Client, path string, want int) error {
	for _, v := range d.net.vips {
		if _, err := d.get(ctx, client, "http://"+v.String()+"/"+path, Host, want); err != nil {
			return fmt.Errorf("VIP %s: %w", v, err)
		}
	}
	return nil
}

// get returns up to 1 MiB of an answer with the status want (0: any).
func (d *demo) get(ctx context.Context, client *http.Client, url, host string, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if host != "" {
		req.Host = host
	} else {
		req.Header.Set("Authorization", "Bearer "+d.token) // to admin addresses only
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if want != 0 && res.StatusCode != want {
		return nil, fmt.Errorf("%s answers %s: %.200s", url, res.Status, raw)
	}
	return raw, nil
}
