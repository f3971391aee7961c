// Package seal makes and opens the sealed datagrams that nodes exchange: who
// does not hold the cluster key can neither read nor make one, nor play one
// again.
//
// Guarantees: an opened datagram was sealed by a holder of the cluster key, by
// this incarnation of this sender for this incarnation of this receiver, and is
// opened once. Hellos, which nodes use to learn each other's incarnation, prove
// the key only, and may be played again: their reader must let incarnations only
// rise and answer them rarely.
//
// Limits: datagrams may come out of order by up to ReplayWindow; older ones are
// refused. A session ends with one of its incarnations; what remains of a
// session may be read later by a thief of the cluster key.
//
// Sealed datagram, big-endian; the header is authenticated, the body is
// encrypted with XChaCha20-Poly1305 under a key made by HKDF-SHA256 from the
// cluster key and both members; the nonce is salt and counter:
//
//	version u8 = 1 | type u8 = 1 | zero u16 | from id u32 | from incarnation u64 |
//	to id u32 | to incarnation u64 | salt 16 bytes | counter u64 | body | tag 16 bytes
//
// The salt is random, one a session: should an incarnation ever be used twice,
// no nonce is. The receiver stays with the first salt that it sees.
//
// Hello, 68 bytes; its body is encrypted under a key made from the cluster key
// alone:
//
//	version u8 = 1 | type u8 = 2 | zero u16 | nonce 24 bytes |
//	from id u32 | from incarnation u64 | to id u32 | known incarnation u64 | tag 16 bytes
//
// A datagram of another version or type is malformed.
//
// Source: RFC 8439, draft-irtf-cfrg-xchacha, RFC 5869; the replay window is that
// of RFC 6479.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"rain/ring"
)

// Why a datagram was refused. Count it, drop it, do not answer.
var (
	ErrMalformed = errors.New("seal: malformed datagram; drop it")
	ErrKey       = errors.New("seal: datagram not sealed with the cluster key, or changed on its way; drop it")
	ErrReplay    = errors.New("seal: datagram seen before, or too old; drop it")
	ErrAddress   = errors.New("seal: datagram of another session; drop it")
)

const (
	version   = 1
	typeData  = 1
	typeHello = 2

	// KeySize is the size of a cluster key.
	KeySize = 32
	// Overhead is what Session.Seal adds to a datagram.
	Overhead = headerSize + tagSize

	headerSize = 4 + 12 + 12 + saltSize + 8
	saltSize   = 16
	nonceSize  = chacha20poly1305.NonceSizeX
	tagSize    = chacha20poly1305.Overhead
	helloBody  = 4 + 8 + 4 + 8
	helloSize  = 4 + nonceSize + helloBody + tagSize
)

// Keyring holds the cluster's keys. The first one seals, all open: so a key can
// be changed while the cluster runs. It may be used by many goroutines.
type Keyring struct {
	keys  [][]byte
	hello []cipher.AEAD
}

// NewKeyring takes one or more keys of KeySize bytes.
func NewKeyring(keys ...[]byte) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no cluster key; make one with 'rainctl key new' and name it in [cluster] key_file")
	}
	k := &Keyring{}
	for i, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("seal: cluster key %d has %d bytes, want %d; make one with 'rainctl key new'", i, len(key), KeySize)
		}
		k.keys = append(k.keys, append([]byte(nil), key...))
		k.hello = append(k.hello, derive(key, "hello"))
	}
	return k, nil
}

// derive makes a key for one purpose.
func derive(key []byte, info string) cipher.AEAD {
	sub, err := hkdf.Key(sha256.New, key, []byte("rain/seal/1"), info, chacha20poly1305.KeySize)
	if err != nil {
		panic(fmt.Sprintf("seal: hkdf: %v", err)) // only for absurd lengths: a bug
	}
	aead, err := chacha20poly1305.NewX(sub)
	if err != nil {
		panic(fmt.Sprintf("seal: xchacha20poly1305: %v", err)) // only for a wrong key size: a bug
	}
	return aead
}

func (k *Keyring) direction(from, to ring.Member) []cipher.AEAD {
	info := string(appendMember(appendMember([]byte("data"), from), to))
	out := make([]cipher.AEAD, len(k.keys))
	for i, key := range k.keys {
		out[i] = derive(key, info)
	}
	return out
}

func appendMember(b []byte, m ring.Member) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(m.ID))
	return binary.BigEndian.AppendUint64(b, uint64(m.Inc))
}

func member(b []byte) ring.Member {
	return ring.Member{ID: ring.NodeID(binary.BigEndian.Uint32(b)), Inc: ring.Incarnation(binary.BigEndian.Uint64(b[4:]))}
}

// Session seals for one peer and opens what it sent. It is not safe for
// concurrent use.
type Session struct {
	me, peer ring.Member
	seal     cipher.AEAD
	open     []cipher.AEAD
	header   [headerSize]byte // the counter in it is the last one used
	sent     uint64
	peerSalt [saltSize]byte
	heard    bool // peerSalt is known
	window   window
}

// Session starts a session between two incarnations. There must be one only
// for each pair: a second one of the same pair is not understood by the peer.
func (k *Keyring) Session(me, peer ring.Member) *Session {
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails
	return k.session(me, peer, salt)
}

func (k *Keyring) session(me, peer ring.Member, salt [saltSize]byte) *Session {
	s := &Session{me: me, peer: peer, seal: k.direction(me, peer)[0], open: k.direction(peer, me)}
	h := append(s.header[:0], version, typeData, 0, 0)
	h = appendMember(appendMember(h, me), peer)
	copy(h[len(h):headerSize], salt[:])
	return s
}

// SetKeys goes over to other keys in the midst of the session: salt, counters
// and window stay, so no nonce is used twice and nothing is opened twice.
func (s *Session) SetKeys(k *Keyring) {
	s.seal, s.open = k.direction(s.me, s.peer)[0], k.direction(s.peer, s.me)
}

// Peer is who the session is with.
func (s *Session) Peer() ring.Member { return s.peer }

// Seal appends to dst the datagram that carries body. The two must not overlap.
func (s *Session) Seal(dst, body []byte) []byte {
	s.sent++
	binary.BigEndian.PutUint64(s.header[headerSize-8:], s.sent)
	at := len(dst)
	dst = append(dst, s.header[:]...)
	head := dst[at:len(dst):len(dst)]
	return s.seal.Seal(dst, head[headerSize-nonceSize:], body, head)
}

// Open appends to dst the body of a datagram from the peer.
func (s *Session) Open(dst, b []byte) ([]byte, error) {
	from, to, err := Peek(b)
	if err != nil {
		return nil, err
	}
	if from != s.peer || to != s.me {
		return nil, ErrAddress
	}
	salt, counter := [saltSize]byte(b[headerSize-nonceSize:]), binary.BigEndian.Uint64(b[headerSize-8:])
	same := !s.heard || salt == s.peerSalt
	if same && !s.window.fresh(counter) {
		return nil, ErrReplay // not worth opening
	}
	for _, key := range s.open {
		if out, err := key.Open(dst, b[headerSize-nonceSize:headerSize], b[headerSize:], b[:headerSize]); err == nil {
			if !same {
				return nil, ErrReplay
			}
			// Only what is authentic may move the window.
			s.peerSalt, s.heard = salt, true
			s.window.note(counter)
			return out, nil
		}
	}
	return nil, ErrKey
}

// Peek tells who says to have sealed a datagram, and for whom. Nothing of it is
// proved. A hello gives ErrMalformed; see IsHello.
func Peek(b []byte) (from, to ring.Member, err error) {
	if len(b) < Overhead || b[0] != version || b[1] != typeData || b[2]|b[3] != 0 {
		return from, to, ErrMalformed
	}
	from, to = member(b[4:]), member(b[16:])
	if from.ID == 0 || from.Inc == 0 || to.ID == 0 || to.Inc == 0 {
		return from, to, ErrMalformed
	}
	return from, to, nil
}

// Hello says who is there, and what is known of the one spoken to.
type Hello struct {
	From  ring.Member
	To    ring.NodeID
	Known ring.Incarnation // of To; 0: not known
}

// IsHello reports whether the datagram has the form of a hello.
func IsHello(b []byte) bool {
	return len(b) == helloSize && b[0] == version && b[1] == typeHello && b[2]|b[3] == 0
}

// SealHello appends to dst the datagram that carries h.
func (k *Keyring) SealHello(dst []byte, h Hello) []byte {
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) // never fails
	return k.sealHello(dst, h, nonce)
}

func (k *Keyring) sealHello(dst []byte, h Hello, nonce [nonceSize]byte) []byte {
	at := len(dst)
	dst = append(dst, version, typeHello, 0, 0)
	dst = append(dst, nonce[:]...)
	var body [helloBody]byte
	appendMember(appendMember(body[:0], h.From), ring.Member{ID: h.To, Inc: h.Known})
	return k.hello[0].Seal(dst, nonce[:], body[:], dst[at:at+4:at+4])
}

// OpenHello reads a hello.
func (k *Keyring) OpenHello(b []byte) (Hello, error) {
	if !IsHello(b) {
		return Hello{}, ErrMalformed
	}
	for _, key := range k.hello {
		var body [helloBody]byte
		if _, err := key.Open(body[:0], b[4:4+nonceSize], b[4+nonceSize:], b[:4]); err == nil {
			to := member(body[12:])
			h := Hello{From: member(body[:]), To: to.ID, Known: to.Inc}
			if h.From.ID == 0 || h.From.Inc == 0 || h.To == 0 {
				return Hello{}, ErrMalformed
			}
			return h, nil
		}
	}
	return Hello{}, ErrKey
}
