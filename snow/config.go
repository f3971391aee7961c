package snow

import (
	"errors"
	"fmt"
	"time"

	"rain/snow/accesslog"
)

// Config is what an operator may set. Times that are 0 and counts below 1 are
// refused: nothing here can be switched off but the access log and the header.
type Config struct {
	NodeName   string // sent as X-Rain-Node if NodeHeader
	NodeHeader bool

	AccessLog    string           // a path; "-": standard output; "": none
	AccessFormat accesslog.Format // combined or json

	// HeaderTimeout is how long a request's line and header may take from their
	// first byte, and a new connection until then. Default 5s.
	HeaderTimeout time.Duration
	// BodyTimeout is how long the body of a request may take. Default 30s.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests. Default 60s.
	IdleTimeout time.Duration
	// WriteStall drops a client that takes no byte for so long (up to a quarter
	// more). A slow client that takes some is served on. Default 30s.
	WriteStall time.Duration
	// LeaseWait is how long a VIP's request waits for a late lease. Default 1s.
	LeaseWait time.Duration
	// StoreTimeout is how long the store may take to find a file. Default 10s.
	StoreTimeout time.Duration

	// MaxConns bounds the open connections; more are answered 503. Default 16384.
	MaxConns int
	// MaxConnsPerIP bounds those of one IPv4 address or IPv6 /64; more are
	// answered 429. Raise it behind a proxy. Default 1024.
	MaxConnsPerIP int
	// MaxBody bounds the body of a request in bytes. Default 1 MiB.
	MaxBody int
	// CacheBytes bounds the small files kept in memory. Default 64 MiB.
	CacheBytes int64
	// OpenFiles bounds the large files kept open between requests. Default 256.
	OpenFiles int
}

// DefaultConfig has the documented defaults and no access log.
func DefaultConfig() Config {
	return Config{
		AccessFormat:  accesslog.Combined,
		HeaderTimeout: 5 * time.Second,
		BodyTimeout:   30 * time.Second,
		IdleTimeout:   60 * time.Second,
		WriteStall:    30 * time.Second,
		LeaseWait:     time.Second,
		StoreTimeout:  10 * time.Second,
		MaxConns:      16384,
		MaxConnsPerIP: 1024,
		MaxBody:       1 << 20,
		CacheBytes:    64 << 20,
		OpenFiles:     256,
	}
}

// Validate reports all faults at once.
func (c *Config) Validate() error {
	var errs []error
	for _, t := range []struct {
		name string
		d    time.Duration
	}{
		{"header_timeout", c.HeaderTimeout}, {"body_timeout", c.BodyTimeout}, {"idle_timeout", c.IdleTimeout},
		{"write_stall", c.WriteStall}, {"lease_wait", c.LeaseWait}, {"store_timeout", c.StoreTimeout},
	} {
		if t.d <= 0 || t.d > time.Hour {
			errs = append(errs, fmt.Errorf("snow: %s is %v; more than 0 and at most 1h is allowed", t.name, t.d))
		}
	}
	for _, n := range []struct {
		name string
		n    int64
	}{
		{"max_conns", int64(c.MaxConns)}, {"max_conns_per_ip", int64(c.MaxConnsPerIP)}, {"max_body", int64(c.MaxBody)},
		{"cache_bytes", c.CacheBytes}, {"open_files", int64(c.OpenFiles)},
	} {
		if n.n < 1 {
			errs = append(errs, fmt.Errorf("snow: %s is %d; at least 1 is allowed", n.name, n.n))
		}
	}
	if c.AccessFormat != accesslog.Combined && c.AccessFormat != accesslog.JSON {
		errs = append(errs, fmt.Errorf("snow: access_format is %q; %q or %q is allowed", c.AccessFormat, accesslog.Combined, accesslog.JSON))
	}
	if c.NodeHeader && c.NodeName == "" {
		errs = append(errs, errors.New("snow: node_header needs the node's name"))
	}
	return errors.Join(errs...)
}
