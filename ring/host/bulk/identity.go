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

// identity is what a process proves the cluster keys with and verifies others by:
// a certificate for each key, the first of which is shown, and all authorities.
type identity struct {
	certs []tls.Certificate
	hints []string // of the keys, in their order
	roots *x509.CertPool

	authorities [][]byte // in the same order
}

// newIdentity derives a certificate authority from each key and has it sign a
// certificate for a fresh key of this process.
func newIdentity(id ring.NodeID, keys ...[]byte) (*identity, error) {
	if len(keys) == 0 || len(keys[0]) < KeySize || id == 0 {
		return nil, fmt.Errorf("bulk: a cluster key of at least %d bytes and a node id are needed", KeySize)
	}
	i := &identity{roots: x509.NewCertPool()}
	for _, key := range keys {
		ca, caKey, err := authority(key)
		if err != nil {
			return nil, err
		}
		cert, err := leaf(id, ca, caKey)
		if err != nil {
			return nil, err
		}
		i.certs = append(i.certs, cert)
		i.hints = append(i.hints, hint(ca))
		i.authorities = append(i.authorities, ca.Raw)
		i.roots.AddCert(ca)
	}
	return i, nil
}

// authority is the certificate authority that a cluster key stands for.
func authority(key []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, key, nil, "rain bulk certificate authority, ed25519, version 1", ed25519.SeedSize)
	if err != nil {
		return nil, nil, fmt.Errorf("bulk: deriving the authority's key: %w", err)
	}
	caKey := ed25519.NewKeyFromSeed(seed)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rain cluster"},
		NotBefore: notBefore(), NotAfter: notAfter(),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("bulk: making the authority: %w", err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, fmt.Errorf("bulk: making the authority: %w", err)
	}
	return ca, caKey, nil
}

// leaf is a certificate of this process.
func leaf(id ring.NodeID, ca *x509.Certificate, caKey ed25519.PrivateKey) (tls.Certificate, error) {
	fail := func(err error) (tls.Certificate, error) {
		return tls.Certificate{}, fmt.Errorf("bulk: making a certificate: %w", err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fail(err)
	}
	l := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: id.String()},
		NotBefore: notBefore(), NotAfter: notAfter(),
		URIs: []*url.URL{nodeURI(id)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, l, ca, pub, caKey)
	if err != nil {
		return fail(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}, nil
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
		Certificates: i.certs[:1],
		// Big records from the start: this is for bulk.
		DynamicRecordSizingDisabled: true,
	}
}

func (i *identity) server() *tls.Config {
	c := i.base()
	c.ClientAuth = tls.RequireAnyClientCert // verified right below, at a fixed date
	c.Certificates, c.GetCertificate, c.GetConfigForClient = nil, i.meant, i.forClient
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := i.peer(cs)
		return err
	}
	return c
}

// meant is the certificate under the key that the client names, for one that does
// not have our first key yet or any more; without such a name it is the first.
func (i *identity) meant(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for k, h := range i.hints {
		if strings.Contains(hello.ServerName, "."+h+".") {
			return &i.certs[k], nil
		}
	}
	return &i.certs[0], nil
}

// hint names a key without telling anything of it.
func hint(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return fmt.Sprintf("k%x", sum[:4])
}

// client is the config for connections to one node. sessions are shared by all.
func (i *identity) client(to ring.NodeID, sessions tls.ClientSessionCache) *tls.Config {
	c := i.base()
	c.InsecureSkipVerify = true // verified right below: ids are no host names
	c.ServerName = fmt.Sprintf("n%08x.%s.rain", uint32(to), i.hints[0])
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
