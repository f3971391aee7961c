package node

import (
	"context"
	"log/slog"

	"rain/cmd/internal/cli"
	"rain/vip"
	"rain/vip/loopback"
)

// newDriver makes the VIP driver that the file names.
func newDriver(ctx context.Context, cfg vip.Config, log *slog.Logger) (vip.Driver, func(), error) {
	switch cfg.Driver {
	case "none":
		return vip.None{}, nil, nil
	case "loopback":
		d, err := loopback.New(ctx, loopback.Config{Port: cfg.Port}, log)
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	}
	return nil, nil, cli.New(cli.BadInput, "bad_config", "use driver = \"none\" or \"loopback\"", "vip.driver: %q is not in this version", cfg.Driver)
}

// guardPid is the pid of the driver's guard, 0 without one.
func guardPid(d vip.Driver) int {
	if g, ok := d.(interface{ GuardPid() int }); ok {
		return g.GuardPid()
	}
	return 0
}
