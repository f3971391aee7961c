package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rain/conf"
	"rain/ring"
	"rain/ring/host"
	"rain/ring/settings"
	"rain/snow/admin"
	"rain/vip"
	"rain/vip/table"
)

// What all nodes have in common and an operator may change while they run. The
// first node's file proposes it; afterwards it lives on the token, and a file that
// differs is a warning.
const (
	keyDetection = "detection"
	poolPrefix   = "vip.pool." // and a name: the pool's addresses, with commas; kept by the rider of addresses
)

// fixed are settings that cannot change while nodes run, and why.
var fixed = map[string]string{
	"preset": "two leases in one ring would break exclusivity: stop all nodes, change all files, start them",
	"policy": "two rules of what a quorum is in one ring would be two primaries: stop all nodes, change all files, start them",
}

// clusterSettings are the settings for operators.
type clusterSettings struct{ n *node }

// detection is the cluster's, or the file's before it has one.
func (n *node) detection() string {
	if s, ok := n.settings.State().Get(keyDetection); ok {
		return s.Value
	}
	return n.file.Cluster.Detection
}

// List are all settings with this node's own values.
func (c clusterSettings) List() []admin.Setting {
	n := c.n
	out := []admin.Setting{}
	d := admin.Setting{Key: keyDetection, Value: n.detection(), File: n.file.Cluster.Detection}
	if s, ok := n.settings.State().Get(keyDetection); ok {
		d.By, d.Since = n.known.name(s.By), time.UnixMilli(int64(s.AtMS)).UTC()
	}
	out = append(out, d)
	own := map[string]string{}
	for _, p := range n.filePools {
		own[p.Name] = poolText(p)
	}
	for _, p := range n.vips.Table().Pools() {
		out = append(out, admin.Setting{Key: poolPrefix + p.Name, Value: poolText(p), File: own[p.Name]})
		delete(own, p.Name)
	}
	for _, name := range slices.Sorted(mapKeys(own)) {
		out = append(out, admin.Setting{Key: poolPrefix + name, File: own[name]})
	}
	return out
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func poolText(p table.Pool) string {
	var out []string
	for _, a := range p.Addresses {
		out = append(out, a.String())
	}
	return strings.Join(out, ",")
}

// Set changes one.
func (c clusterSettings) Set(ctx context.Context, key, value string) error {
	if why, ok := fixed[key]; ok {
		return fmt.Errorf("%w: %s cannot change while nodes run: %s", admin.ErrConflict, key, why)
	}
	if name, ok := strings.CutPrefix(key, poolPrefix); ok {
		return c.setPool(ctx, name, value)
	}
	if key != keyDetection {
		return fmt.Errorf("%w: there is no setting %q; there are detection and vip.pool.NAME", admin.ErrNotFound, key)
	}
	if value != "conservative" && value != "aggressive" {
		return fmt.Errorf("%w: detection is conservative or aggressive, not %q", admin.ErrBadInput, value)
	}
	return c.n.proposeSetting(ctx, settings.Op{Kind: settings.Set, Key: key, Value: value, AtMS: uint64(time.Now().UnixMilli())})
}

// Unset takes a pool away: its addresses are let go.
func (c clusterSettings) Unset(ctx context.Context, key string) error {
	name, ok := strings.CutPrefix(key, poolPrefix)
	if !ok {
		return fmt.Errorf("%w: only a pool of addresses can be taken away, not %q", admin.ErrBadInput, key)
	}
	pools := c.n.vips.Table().Pools()
	rest := slices.DeleteFunc(slices.Clone(pools), func(p table.Pool) bool { return p.Name == name })
	if len(rest) == len(pools) {
		return fmt.Errorf("%w: there is no pool %q", admin.ErrNotFound, name)
	}
	return c.n.manager.SetPools(ctx, rest)
}

// setPool makes the addresses of a pool these; a new pool gets the interface of
// the first one, where nodes' files do not say another.
func (c clusterSettings) setPool(ctx context.Context, name, value string) error {
	if !conf.ValidName(name) {
		return fmt.Errorf("%w: %q is no name of a pool", admin.ErrBadInput, name)
	}
	var addrs []string
	for a := range strings.SplitSeq(value, ",") {
		a = strings.TrimSpace(a)
		if ip, err := netip.ParseAddr(a); err == nil {
			a = netip.PrefixFrom(ip, ip.BitLen()).String()
		}
		addrs = append(addrs, a)
	}
	pools := slices.Clone(c.n.vips.Table().Pools())
	i := slices.IndexFunc(pools, func(p table.Pool) bool { return p.Name == name })
	cfg := vip.PoolConfig{Name: name, Addresses: addrs}
	if i >= 0 {
		cfg.Interface = pools[i].Interface
	} else if len(pools) > 0 {
		cfg.Interface = pools[0].Interface
	}
	parsed, err := vip.ParsePools([]vip.PoolConfig{cfg})
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrBadInput, err)
	}
	if c.n.file.VIP.Driver == "loopback" && slices.ContainsFunc(parsed[0].Addresses, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
		return fmt.Errorf("%w: this cluster's addresses are on the loopback", admin.ErrBadInput)
	}
	if i >= 0 {
		pools[i] = parsed[0]
	} else {
		pools = append(pools, parsed[0])
	}
	return c.n.manager.SetPools(ctx, pools)
}

func (n *node) proposeSetting(ctx context.Context, op settings.Op) error {
	if err := n.awaitVersion(ctx, versionRoster); err != nil {
		return err
	}
	why, err := n.host.Propose(ctx, ring.RiderSettings, op.Append(nil), host.Opt{Durable: true, All: true})
	if err == nil && len(why) > 0 && op.Kind != settings.Found {
		err = fmt.Errorf("%w: %s", admin.ErrConflict, why)
	}
	return err
}

// followSettings has the layers below do as the settings say, and gives a new
// cluster those of this node's file.
func (n *node) followSettings(ctx context.Context) error {
	now := n.file.Cluster.Detection
	for {
		s := n.settings.State()
		if d := n.detection(); d != now {
			now = d
			n.host.SetAggressive(d == "aggressive")
			n.log.Info("detection", slog.String("is", d))
		}
		var again <-chan time.Time
		if _, set := s.Get(keyDetection); !set {
			again = time.After(5 * retryEvery)
			if n.host.Primary() && n.needVersion(versionRoster) == nil {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				err := n.proposeSetting(ctx, settings.Op{Kind: settings.Found, Key: keyDetection, Value: n.file.Cluster.Detection, AtMS: uint64(time.Now().UnixMilli())})
				cancel()
				if err != nil {
					n.log.Debug("proposing the file's settings", slog.Any("err", err))
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Changed():
		case <-again:
		}
	}
}

// differing are the settings in which this node's file is not as the cluster.
func (n *node) differing() (out []string) {
	for _, s := range (clusterSettings{n}).List() {
		if s.File != "" && s.File != s.Value {
			out = append(out, fmt.Sprintf("%s is %q in this node's file; the cluster's is %q and counts ('rainctl set')", s.Key, s.File, s.Value))
		}
	}
	return out
}
