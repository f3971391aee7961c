package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/netip"
	"sync"
	"time"
)

// Wrong tokens that an address has at once, and how fast it gets them back.
const (
	loginBurst   = 20
	loginPerSec  = 2
	loginClients = 4096
)

// logins counts wrong tokens for each client address. Its memory is bounded:
// when the table is full of addresses that used up something, the rest share
// one entry.
type logins struct {
	mu      sync.Mutex
	clients map[netip.Addr]*loginBucket
	swept   time.Time
}

type loginBucket struct {
	left float64
	at   time.Time
}

func (b *loginBucket) refill(now time.Time) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.left = min(loginBurst, b.left+d*loginPerSec)
		b.at = now
	}
}

// prefix makes one client of all addresses that one IPv6 host can choose from.
func prefix(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (l *logins) bucket(a netip.Addr, now time.Time) *loginBucket {
	a = prefix(a)
	if b, ok := l.clients[a]; ok {
		b.refill(now)
		return b
	}
	if l.clients == nil {
		l.clients = make(map[netip.Addr]*loginBucket)
	}
	if len(l.clients) >= loginClients && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for k, b := range l.clients {
			if b.refill(now); b.left >= loginBurst {
				delete(l.clients, k)
			}
		}
	}
	if len(l.clients) >= loginClients {
		a = netip.Addr{}
		if b, ok := l.clients[a]; ok {
			b.refill(now)
			return b
		}
	}
	b := &loginBucket{left: loginBurst, at: now}
	l.clients[a] = b
	return b
}

// blocked reports whether the address has used up its attempts.
func (l *logins) blocked(a netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.clients[prefix(a)]; !known && len(l.clients) < loginClients {
		return false
	}
	return l.bucket(a, now).left < 1
}

func (l *logins) failed(a netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(a, now)
	b.left = max(0, b.left-1)
}

// presented returns the token in an Authorization header; ok is false if there
// is none in a form that we know.
func presented(header []byte) (token []byte, ok bool) {
	scheme, rest, found := bytes.Cut(header, []byte(" "))
	if !found {
		return nil, false
	}
	rest = bytes.TrimSpace(rest)
	switch {
	case bytes.EqualFold(scheme, []byte("Bearer")):
		return rest, true
	case bytes.EqualFold(scheme, []byte("Basic")):
		b := make([]byte, base64.StdEncoding.DecodedLen(len(rest)))
		n, err := base64.StdEncoding.Decode(b, rest)
		if err != nil {
			return nil, true // an attempt, and a wrong one
		}
		user, pass, _ := bytes.Cut(b[:n], []byte(":"))
		if string(user) != "admin" {
			return nil, true
		}
		return pass, true
	}
	return nil, false
}

// sameToken compares hashes, so that not even the length shows in the time.
func sameToken(got []byte, want string) bool {
	g, w := sha256.Sum256(got), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1
}
