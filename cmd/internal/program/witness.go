package program

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/witness"
	"rain/conf"
)

// Witness is the command witness.
type Witness struct {
	Listen  string `required:"" placeholder:"IP:PORT" help:"Where the nodes ask (TCP)."`
	KeyFile string `required:"" type:"path" placeholder:"FILE" help:"The cluster's key file."`
	Data    string `required:"" type:"path" placeholder:"DIR" help:"Folder of its own; it must survive restarts."`
	JSON    bool   `name:"json" help:"Print a failure as JSON on stdout."`
}

// Run is the witness of a cluster, on a box that is no node, until TERM or INT.
func (c *Witness) Run(env *Env) error {
	at, err := netip.ParseAddrPort(c.Listen)
	if err != nil {
		return cli.New(cli.Usage, "usage", "", "--listen %s: want an IP address and a port, such as 10.0.0.9:7401", c.Listen)
	}
	raw, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return &cli.Error{Exit: cli.BadInput, Err: err}
	}
	keys, err := conf.ParseKeys(raw)
	if err != nil {
		return cli.New(cli.BadInput, "bad_key", "copy the key file of a node", "--key-file %s: %w", c.KeyFile, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err = witness.Run(ctx, witness.Config{Listen: at, Data: c.Data, Keys: keys}, slog.New(slog.NewTextHandler(env.Stderr, nil)))
	if errors.Is(err, context.Canceled) {
		return nil // told to stop
	}
	return err
}
