// Package invite is how a new box comes into a cluster: the invitation that an
// operator carries from one box to the other, and the words that the two say to
// each other at the door (see rain/ring/host/bulk).
//
// What an invitation does: it lets in one node, before it expires; and it names
// the cluster's key by a pin, so that the new box gives its secret to nobody but
// a holder of that key, and takes the key from nobody else. The key travels in
// TLS 1.3 only. Who reads an invitation before it is used can use it in its
// place, once: the cluster's event log then shows a node that nobody expects.
//
// Token: "rain1-" and base64url without padding of, big-endian,
//
//	invitation 8 bytes | secret 16 bytes | pin 32 bytes | expires u64, wall clock ms |
//	cluster: length u8, text | count u8 (1 to MaxAddrs) | addresses: length u8 (4 or 16), bytes, port u16 | CRC-32 (IEEE) of all before u32
//
// The checksum finds what was lost in copying; it proves nothing.
package invite

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"rain/ring/roster"
)

const (
	prefix = "rain1-"
	// MaxAddrs is how many addresses an invitation names.
	MaxAddrs = 8
	maxToken = 1024
)

// ErrToken says that a text is no invitation.
var ErrToken = errors.New("not an invitation, or not the whole of it; copy the line that 'rainctl invite' printed, from rain1- to its end")

// Secret is what an invitation proves itself with.
type Secret [16]byte

// Hash is what the cluster keeps of it.
func (s Secret) Hash() [32]byte { return sha256.Sum256(s[:]) }

// Token is an invitation.
type Token struct {
	ID      roster.InvitationID
	Secret  Secret
	Pin     [32]byte
	Expires time.Time
	Cluster string
	Addrs   []netip.AddrPort // where to knock
}

// New makes an invitation with an id and a secret of its own.
func New(cluster string, pin [32]byte, expires time.Time, addrs []netip.AddrPort) Token {
	t := Token{Pin: pin, Expires: time.UnixMilli(expires.UnixMilli()).UTC(), Cluster: cluster, Addrs: addrs[:min(len(addrs), MaxAddrs)]}
	rand.Read(t.ID[:]) // never fails
	rand.Read(t.Secret[:])
	return t
}

func (t Token) String() string {
	b := append(append(append([]byte(nil), t.ID[:]...), t.Secret[:]...), t.Pin[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.UnixMilli()))
	b = append(append(b, byte(len(t.Cluster))), t.Cluster...)
	b = append(b, byte(len(t.Addrs)))
	for _, a := range t.Addrs {
		ip := a.Addr().Unmap().AsSlice()
		b = append(append(b, byte(len(ip))), ip...)
		b = binary.BigEndian.AppendUint16(b, a.Port())
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// Parse reads a token.
func Parse(text string) (Token, error) {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(text) > maxToken {
		return Token{}, fmt.Errorf("invite: %w", ErrToken)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) < 4 || strings.ContainsAny(rest, "\r\n") {
		return Token{}, fmt.Errorf("invite: %w", ErrToken)
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return Token{}, fmt.Errorf("invite: %w", ErrToken)
	}
	t, ok := parse(body)
	if !ok {
		return Token{}, fmt.Errorf("invite: %w", ErrToken)
	}
	return t, nil
}

// parse takes the body apart.
func parse(b []byte) (t Token, ok bool) {
	take := func(n int) []byte {
		if n > len(b) {
			b, ok = nil, false
			return make([]byte, n)
		}
		p := b[:n]
		b = b[n:]
		return p
	}
	ok = true
	copy(t.ID[:], take(len(t.ID)))
	copy(t.Secret[:], take(len(t.Secret)))
	copy(t.Pin[:], take(len(t.Pin)))
	ms := binary.BigEndian.Uint64(take(8))
	t.Expires = time.UnixMilli(int64(ms & (1<<48 - 1))).UTC()
	t.Cluster = string(take(int(take(1)[0])))
	n := int(take(1)[0])
	if !ok || ms >= 1<<48 || !utf8.ValidString(t.Cluster) || n < 1 || n > MaxAddrs {
		return t, false
	}
	for range n {
		ip, valid := netip.AddrFromSlice(take(int(take(1)[0])))
		port := binary.BigEndian.Uint16(take(2))
		if !ok || !valid || ip.Is4In6() || port == 0 {
			return t, false
		}
		t.Addrs = append(t.Addrs, netip.AddrPortFrom(ip, port))
	}
	return t, ok && len(b) == 0
}
