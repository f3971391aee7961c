package transport

import (
	"fmt"

	"rain/ring/host/seal"
)

// SetKeys goes over to other cluster keys, with no session lost: the first one
// seals, all open. The others must open what it seals already.
func (t *Transport) SetKeys(key []byte, old ...[]byte) error {
	keys, err := seal.NewKeyring(append([][]byte{key}, old...)...)
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	t.mu.Lock()
	defer t.unlock()
	t.keys.Store(keys)
	for _, p := range t.order {
		if p.session != nil {
			p.session.SetKeys(keys)
		}
	}
	return nil
}
