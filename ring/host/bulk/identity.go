package bulk

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"rain/ring"
)

// The certificates' dates do not depend on any host's clock.
func notBefore() time.Time { return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) }
func notAfter() time.Time  { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }
func verifyAt() time.Time  { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }

// identity is what a process proves the cluster key with and verifies others by.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// newIdentity derives the cluster's certificate authority from the key and has
// it sign a certificate for a fresh key of this process.
func newIdentity(key []byte, id ring.NodeID) (*identity, error) {
	if len(key) < KeySize || id == 0 {
		return nil, fmt.Errorf("bulk: a cluster key of at least %d bytes and a node id are needed", KeySize)
	}
	seed, err := hkdf.Key(sha256.New, key, nil, "rain bulk certificate authority, ed25519, version 1", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("bulk: deriving the authority's key: %w", err)
	}
	caKey := ed25519.NewKeyFromSeed(seed)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rain cluster"},
		NotBefore: notBefore(), NotAfter: notAfter(),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("bulk: making the authority: %w", err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("bulk: making the authority: %w", err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("bulk: making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("bulk: making a certificate: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: id.String()},
		NotBefore: notBefore(), NotAfter: notAfter(),
		URIs: []*url.URL{nodeURI(id)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, pub, caKey); err != nil {
		return nil, fmt.Errorf("bulk: making a certificate: %w", err)
	}
	i := &identity{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}, roots: x509.NewCertPool()}
	i.roots.AddCert(ca)
	return i, nil
}

func nodeURI(id ring.NodeID) *url.URL {
	return &url.URL{Scheme: "rain", Host: "node", Path: "/" + id.String()}
}

// peer verifies the other end's certificate and returns its id. It runs on
// resumed sessions too.
func (i *identity) peer(cs tls.ConnectionState) (ring.NodeID, error) {
	if len(cs.PeerCertificates) != 1 || cs.NegotiatedProtocol != alpn {
		return 0, errors.New("no certificate of this protocol")
	}
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: i.roots, CurrentTime: verifyAt(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return 0, err
	}
	if len(leaf.URIs) != 1 {
		return 0, errors.New("a certificate without a node")
	}
	id, err := ring.ParseNodeID(strings.TrimPrefix(leaf.URIs[0].Path, "/"))
	if err != nil {
		return 0, err
	}
	if leaf.URIs[0].String() != nodeURI(id).String() {
		return 0, errors.New("a certificate without a node")
	}
	return id, nil
}

func (i *identity) base() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{alpn},
		Certificates: []tls.Certificate{i.cert},
		// Big records from the start: this is for bulk.
		DynamicRecordSizingDisabled: true,
	}
}

func (i *identity) server() *tls.Config {
	c := i.base()
	c.ClientAuth = tls.RequireAnyClientCert // verified right below, at a fixed date
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := i.peer(cs)
		return err
	}
	return c
}

// client is the config for connections to one node. sessions are shared by all.
func (i *identity) client(to ring.NodeID, sessions tls.ClientSessionCache) *tls.Config {
	c := i.base()
	c.InsecureSkipVerify = true // verified right below: ids are no host names
	c.ServerName = fmt.Sprintf("n%08x.rain", uint32(to))
	c.ClientSessionCache = sessions
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		id, err := i.peer(cs)
		switch {
		case err != nil:
			return fmt.Errorf("%w (%w)", ErrNotProven, err)
		case id != to:
			return fmt.Errorf("it is node %s: %w", id, ErrOtherNode)
		}
		return nil
	}
	return c
}
