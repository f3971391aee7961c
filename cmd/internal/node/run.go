package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"rain/cmd/internal/cli"
	"rain/ring"
	"rain/ring/host"
	"rain/vip/table"
)

// run starts all loops and ends them in order. base outlives ctx by the drain:
// while the node hands over, everything still runs.
func (n *node) run(ctx context.Context) (err error) {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	failed := make(chan error, 16)
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(base); err != nil && base.Err() == nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			} else if base.Err() == nil {
				n.log.Debug("a part ended", slog.String("part", name))
			}
		})
	}
	row, err := json.Marshal(myRow(n.file))
	if err != nil {
		return fmt.Errorf("node: row: %w", err)
	}
	n.host.SetRow(row)
	listeners, err := n.openListeners(ctx)
	if err != nil {
		return err
	}
	start("transport", func(ctx context.Context) error { return n.tr.Run(ctx, n.host) })
	start("bulk", n.server.Run)
	ringEnded := make(chan struct{})
	start("ring", func(ctx context.Context) error {
		defer close(ringEnded)
		return n.host.Run(ctx)
	})
	start("pace", n.keepPace)
	start("store", n.store.Run)
	start("effects", n.effects.service.Run)
	start("fresh", n.effects.fresh.run)
	start("vip", n.manager.Run)
	start("learn", n.learn)
	start("roster", n.followRoster)
	start("states", n.noteStates)
	start("witness", n.watchWitness)
	start("alone", n.goAlone)
	start("settings", n.followSettings)
	start("pools", n.proposePools)
	start("streams", n.streams.run)
	start("queue", n.web.RunQueue)
	start("vip events", n.noteVIPEvents)
	start("logs", n.reopenLogs)
	start("admin", func(context.Context) error { return n.admin.Serve(listeners.admin) })
	for _, ln := range listeners.web {
		start("web "+ln.Addr().String(), func(context.Context) error { return n.web.ServeOwn(ln) })
	}
	n.log.Info("node runs", slog.String("admin", n.file.Admin.Listen.String()), slog.Int("guard_pid", guardPid(n.driver)))

	select {
	case err = <-failed:
	case <-ringEnded:
		err = errRingEnded
	case <-ctx.Done():
		n.drain(ringEnded)
		if errors.Is(context.Cause(ctx), errForgotten) {
			err = cli.New(cli.Conflict, "forgotten", "to have this box in the cluster again move its folder away and let it join as a new node: 'rainctl invite', 'rainctl join'", "%w", errForgotten)
		}
	}
	n.shutdownServers()
	return err
}

type listeners struct {
	admin net.Listener
	web   []net.Listener
}

func (n *node) openListeners(ctx context.Context) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.admin, err = listen(ctx, "admin.listen", n.file.Admin.Listen); err != nil {
		return l, err
	}
	for _, at := range n.file.Web.Listen {
		ln, err := listen(ctx, "web.listen", at)
		if err != nil {
			return l, err
		}
		l.web = append(l.web, ln)
	}
	return l, nil
}

func (l listeners) close() {
	for _, ln := range append(l.web, l.admin) {
		if ln != nil {
			_ = ln.Close() // on the way out of a failed start: nothing was served yet
		}
	}
}

// drain hands over what this node holds and leaves the ring.
func (n *node) drain(ringEnded <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), n.file.Node.DrainTimeout)
	defer cancel()
	n.mu.Lock()
	n.draining = true
	n.mu.Unlock()
	if n.host.Member() && !n.isolated() {
		if err := n.manager.Drain(ctx); err != nil {
			n.log.Warn("handing the addresses over", slog.Any("err", err))
		}
	}
	// Requests that were accepted are finished by this node, while it still is
	// a member with a lease.
	if err := n.web.Shutdown(ctx); err != nil {
		n.log.Warn("some requests were not finished", slog.Any("err", err))
	}
	if err := n.web.FlushQueue(ctx); err != nil {
		n.log.Warn("telling of the last requests' ends; they will count as orphaned", slog.Any("err", err))
	}
	if n.host.Member() && !n.isolated() {
		if err := n.host.Leave(ctx); err != nil {
			n.log.Warn("leaving the ring; the others will find out", slog.Any("err", err))
		}
	}
	select {
	case <-ringEnded:
	default:
	}
}

func (n *node) shutdownServers() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := errors.Join(n.web.Shutdown(ctx), n.admin.Shutdown(ctx)); err != nil {
		n.log.Warn("closing connections", slog.Any("err", err))
	}
}

// learn keeps names and addresses of other members as their rows tell them.
func (n *node) learn(ctx context.Context) error {
	seen := map[ring.NodeID]string{}
	for {
		rows, changed := n.host.Rows()
		for _, r := range rows {
			if r.Member.ID == n.file.Node.ID || seen[r.Member.ID] == string(r.Data) {
				continue
			}
			seen[r.Member.ID] = string(r.Data)
			n.setPeer(r.Member.ID, n.known.learn(r.Member.ID, r.Data))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// proposePools gives a new cluster the pools of this node's file; afterwards
// they live on the token.
func (n *node) proposePools(ctx context.Context) error {
	pools := n.filePools
	if len(pools) == 0 {
		return nil
	}
	for {
		t := n.vips.Table()
		var again <-chan time.Time
		if len(t.Pools()) == 0 {
			n.tryPools(ctx, pools)
			again = time.After(retryEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.Changed():
		case <-again:
		}
	}
}

func (n *node) tryPools(ctx context.Context, pools []table.Pool) {
	if !n.host.Primary() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.manager.SetPools(ctx, pools); err != nil {
		n.log.Info("proposing the pools of VIPs", slog.Any("err", err))
	}
}

// noteVIPEvents puts moves of addresses into the event log: who owns it now, and
// when the owner has answered, for how long nobody did.
func (n *node) noteVIPEvents(ctx context.Context) error {
	var last uint64
	answered := map[netip.Addr]uint64{} // the ownership that was told as answering
	for {
		t := n.vips.Table()
		for _, e := range t.Events {
			if e.Index <= last {
				continue
			}
			text := fmt.Sprintf("%s from %s to %s", e.Addr, orNobody(n.known.name(e.From)), orNobody(n.known.name(e.To)))
			n.host.AddEvent("vip", text, e.Cause, 0)
		}
		if k := len(t.Events); k > 0 {
			last = max(last, t.Events[k-1].Index)
		}
		for i := range t.Entries {
			e := &t.Entries[i]
			if e.Served && answered[e.Addr()] != e.OwnIndex {
				answered[e.Addr()] = e.OwnIndex
				n.host.AddEvent("vip", fmt.Sprintf("%s answers at %s", e.Addr(), n.known.name(e.Owner.ID)), e.Cause, time.Duration(e.GapMS)*time.Millisecond)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.Changed():
		}
	}
}

// reopenLogs opens the access log anew and reads the key file when it is told to.
func (n *node) reopenLogs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.reopen:
			n.rereadKeys()
			if err := n.web.Reopen(); err != nil {
				n.log.Error("the access log cannot be opened anew; the old file is written on", slog.Any("err", err))
			}
		}
	}
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

// every calls f now and then until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

var _ interface {
	Message(ring.Member, []byte)
	Verdict(uint64, bool)
} = (*host.Node)(nil)
