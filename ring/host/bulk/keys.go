package bulk

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync/atomic"

	"rain/ring"
)

// proof is what goes with a set of keys; it is replaced as a whole.
type proof struct {
	id       *identity
	server   *tls.Config
	sessions tls.ClientSessionCache // those of other keys must not be resumed
}

type proofs struct{ atomic.Pointer[proof] }

func newProof(id ring.NodeID, keys [][]byte) (*proof, error) {
	i, err := newIdentity(id, keys...)
	if err != nil {
		return nil, err
	}
	return &proof{id: i, server: i.server(), sessions: tls.NewLRUClientSessionCache(sessions)}, nil
}

// SetKeys goes over to other cluster keys: the first one is shown, all are
// accepted. Connections that exist stay.
func (s *Server) SetKeys(key []byte, others ...[]byte) error {
	return s.proof.set(s.cfg.ID, key, others)
}

// SetKeys is as the server's.
func (c *Client) SetKeys(key []byte, others ...[]byte) error {
	return c.proof.set(c.me, key, others)
}

func (p *proofs) set(id ring.NodeID, key []byte, others [][]byte) error {
	keys := append([][]byte{key}, others...)
	if slices.ContainsFunc(keys, func(k []byte) bool { return len(k) < KeySize }) {
		return fmt.Errorf("bulk: a cluster key has less than %d bytes", KeySize)
	}
	next, err := newProof(id, keys)
	if err != nil {
		return err
	}
	p.Store(next)
	return nil
}
