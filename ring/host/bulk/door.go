package bulk

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// The door is for one who has no cluster key yet but an invitation: TLS 1.3 with
// ALPN "rain-join/1", in which only the server proves something, that it has the
// key whose Pin the stranger was told. Then one request and one answer, each
// length u32 and bytes. What the request proves is the handler's business.
const (
	alpnJoin    = "rain-join/1"
	maxRequest  = 8 << 10
	maxAnswer   = 256 << 10
	maxAtDoor   = 4 // requests under way at once
	doorTimeout = 30 * time.Second
)

// ErrOtherKey says that who answers does not have the key that is expected.
var ErrOtherKey = errors.New("what answers there does not have the cluster's key that was promised: another cluster, a changed key, or somebody in between")

// Pin is what a stranger may know of a cluster key to recognise who has it. It
// tells nothing of the key.
func Pin(key []byte) ([32]byte, error) {
	if len(key) < KeySize {
		return [32]byte{}, fmt.Errorf("bulk: a cluster key of %d bytes", len(key))
	}
	ca, _, err := authority(key)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(ca.RawSubjectPublicKeyInfo), nil
}

// Door answers a stranger's request. It must bear anything.
type Door func(ctx context.Context, from netip.AddrPort, request []byte) (answer []byte)

// forClient is the config for who offers nothing but the door.
func (i *identity) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != alpnJoin {
		return nil, nil // the usual one
	}
	cert, err := i.meant(hello)
	if err != nil {
		return nil, err
	}
	own := *cert
	for k := range i.certs {
		if &i.certs[k] == cert {
			own.Certificate = append(own.Certificate[:1:1], i.authorities[k])
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpnJoin},
		Certificates: []tls.Certificate{own}, SessionTicketsDisabled: true,
	}, nil
}

// answerDoor serves a stranger whose handshake is done; the handshake's deadline
// still runs for his request.
func (s *Server) answerDoor(ctx context.Context, conn net.Conn, raw net.Conn) error {
	from := raw.RemoteAddr().(*net.TCPAddr).AddrPort()
	if s.cfg.Door == nil {
		return errors.New("a stranger, and no door")
	}
	request, err := readFrame(conn, maxRequest)
	if err != nil {
		return err
	}
	select {
	case s.atDoor <- struct{}{}:
		defer func() { <-s.atDoor }()
	default:
		s.refused.Add(1)
		return ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	if err := raw.SetDeadline(time.Now().Add(doorTimeout)); err != nil {
		return err
	}
	answer := s.cfg.Door(ctx, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), request)
	if err := writeFrame(conn, answer); err != nil {
		return err
	}
	s.log.Debug("a stranger was answered", slog.String("from", from.String()))
	return conn.Close()
}

func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > limit {
		return nil, fmt.Errorf("bulk: a frame of %d bytes, at most %d are allowed", n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// Knock asks at a node's door. Nothing of the request is sent before the node
// has proven the key with that pin.
func Knock(ctx context.Context, at netip.AddrPort, pin [32]byte, request []byte) (answer []byte, err error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("bulk: asking %s: %w", at, err)
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return fail(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpnJoin},
		ServerName:         fmt.Sprintf("join.k%x.rain", pin[:4]),
		InsecureSkipVerify: true, // verified right below, by the pin
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyPin(cs, pin) },
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return fail(err)
	}
	stop := interruptible(ctx, conn)
	defer stop()
	if err := writeFrame(conn, request); err != nil {
		return fail(err)
	}
	if answer, err = readFrame(conn, maxAnswer); err != nil {
		return fail(err)
	}
	return answer, nil
}

func verifyPin(cs tls.ConnectionState, pin [32]byte) error {
	if len(cs.PeerCertificates) != 2 || cs.NegotiatedProtocol != alpnJoin {
		return ErrOtherKey
	}
	ca := cs.PeerCertificates[1]
	if sha256.Sum256(ca.RawSubjectPublicKeyInfo) != pin {
		return ErrOtherKey
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: verifyAt(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrOtherKey, err)
	}
	return nil
}
