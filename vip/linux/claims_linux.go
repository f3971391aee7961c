package linux

import (
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// contradictEvery bounds how often another's claim is contradicted.
const contradictEvery = 100 * time.Millisecond

// Unfit says which interface of the node's file is down.
func (d *Driver) Unfit() error { return d.nics.unfit() }

// Notify has changed called when Unfit may say something else.
func (d *Driver) Notify(changed func()) {
	d.nics.mu.Lock()
	defer d.nics.mu.Unlock()
	d.nics.changed = changed
}

// claimed is told that mac claims addr. If it is held here, that is late or
// wrong, and is contradicted; if it was given away, that is who has it now.
func (d *Driver) claimed(addr netip.Addr, mac net.HardwareAddr) {
	d.mu.Lock()
	l, gone := d.held[addr], d.leaving[addr]
	d.mu.Unlock()
	if gone != nil {
		gone.heard(mac)
	}
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim == 0 || l.closed || time.Since(l.contradicted) < contradictEvery {
		return
	}
	l.contradicted = time.Now()
	d.log.Warn("another station claims an address that this node holds; announcing it anew",
		slog.String("vip", addr.String()), slog.String("mac", mac.String()))
	if err := l.guard.Announce(l.claim); err != nil {
		d.log.Warn("no announcement: the guard is gone", slog.Any("err", err))
	}
}
