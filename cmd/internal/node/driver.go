package node

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"rain/cmd/internal/cli"
	"rain/vip"
	"rain/vip/linux"
	"rain/vip/loopback"
)

// leaver is the server whose connections must end when an address goes.
type leaver interface {
	Leave(addr netip.Addr, within time.Duration)
	Stay(addr netip.Addr)
}

// newDriver makes the VIP driver that the file names.
func newDriver(ctx context.Context, cfg vip.Config, web leaver, log *slog.Logger) (vip.Driver, func(), error) {
	switch cfg.Driver {
	case "none":
		return vip.None{}, nil, nil
	case "loopback":
		d, err := loopback.New(ctx, loopback.Config{Port: cfg.Port}, log)
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	case "linux":
		lc, err := linuxConfig(cfg)
		if err != nil {
			return nil, nil, err
		}
		lc.Leave, lc.Stay = web.Leave, web.Stay
		if _, err := linux.Check(lc); err != nil { // its warnings New logs
			return nil, nil, cli.New(cli.BadInput, "bad_config", "", "vip.driver: %w", err)
		}
		d, err := linux.New(ctx, lc, log)
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	}
	return nil, nil, cli.New(cli.BadInput, "bad_config", "use driver = \"none\", \"loopback\" or \"linux\"", "vip.driver: %q is not in this version", cfg.Driver)
}

// linuxConfig takes the driver's settings from the node's.
func linuxConfig(cfg vip.Config) (linux.Config, error) {
	lc := linux.DefaultConfig()
	lc.Port = cfg.Port
	lc.Interfaces = map[netip.Addr]string{}
	pools, err := vip.ParsePools(cfg.Pools)
	for _, p := range pools {
		for _, a := range p.Addresses {
			lc.Interfaces[a.Addr()] = p.Interface
		}
	}
	return lc, err
}

// guardPid is the pid of the driver's guard, 0 without one.
func guardPid(d vip.Driver) int {
	if g, ok := d.(interface{ GuardPid() int }); ok {
		return g.GuardPid()
	}
	return 0
}
