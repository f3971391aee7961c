package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"rain/conf"
	"rain/ring"
	"rain/ring/host/bulk"
	"rain/ring/roster"
	"rain/snow/admin"
)

// The cluster key is changed in three steps, each on all nodes before the next:
// take the new key as a second one; seal with it; drop the old one. At any moment
// every node opens what any other seals. Each node writes its key file before it
// goes over, so a restart in the midst goes on with what the file says. The node
// that was asked leads; a repeat of the order, on any node, goes on where an
// interrupted one stopped.
//
// Service node.keys: a line of JSON each way, over the encrypted bulk path. What
// it protects from: a key that may become known later. Who has the old key and is
// on the network while it is changed gets the new one like any node.
const keyService = "node.keys"

// keyOrder is a step. Pins name keys.
type keyOrder struct {
	Do  string `json:"do"` // show, add, use, drop, get
	Key []byte `json:"key,omitempty"`
	Pin string `json:"pin,omitempty"`
}

type keyReply struct {
	Error string   `json:"error,omitempty"`
	Pins  []string `json:"pins"`           // of this node's keys, the sealing one first
	Keys  [][]byte `json:"keys,omitempty"` // for get
}

const keyTimeout = 5 * time.Second

// pinOf is a short name of a key that tells nothing of it.
func pinOf(key conf.Secret) string {
	pin, err := bulk.Pin(key)
	if err != nil {
		return "?" // its length was checked when it was read
	}
	return hex.EncodeToString(pin[:8])
}

func pinsOf(keys []conf.Secret) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = pinOf(k)
	}
	return out
}

func (n *node) keyring() []conf.Secret {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.keys)
}

// keyBytes are the keys as the layers below want them.
func (n *node) keyBytes() (key []byte, old [][]byte) {
	keys := n.keyring()
	for _, k := range keys[1:] {
		old = append(old, k)
	}
	return keys[0], old
}

// setKeys writes the key file and has all layers go over.
func (n *node) setKeys(keys []conf.Secret, write bool) error {
	if write {
		if err := conf.Replace(n.file.Cluster.KeyFile, conf.FormatKeys(keys...)); err != nil {
			return err
		}
	}
	n.mu.Lock()
	n.keys = slices.Clone(keys)
	n.mu.Unlock()
	key, old := n.keyBytes()
	if err := n.tr.SetKeys(key, old...); err != nil {
		return err
	}
	if err := n.server.SetKeys(key, old...); err != nil {
		return err
	}
	if err := n.client.SetKeys(key, old...); err != nil {
		return err
	}
	n.log.Info("cluster key", slog.String("seals", pinOf(keys[0])), slog.Int("accepted", len(keys)))
	return nil
}

// rereadKeys takes over what an operator wrote into the key file.
func (n *node) rereadKeys() {
	raw, err := os.ReadFile(n.file.Cluster.KeyFile)
	if err == nil {
		var keys []conf.Secret
		if keys, err = conf.ParseKeys(raw); err == nil && !slices.Equal(pinsOf(keys), pinsOf(n.keyring())) {
			err = n.setKeys(keys, false)
		}
	}
	if err != nil {
		n.log.Error("the key file is not taken over; the node goes on with the keys it has", slog.Any("err", err))
	}
}

// keyStep does one order on this node. Doing it twice does no harm.
func (n *node) keyStep(o keyOrder) error {
	keys := n.keyring()
	at := slices.IndexFunc(keys, func(k conf.Secret) bool { return pinOf(k) == o.Pin })
	switch o.Do {
	case "add":
		key := conf.Secret(o.Key)
		switch {
		case len(key) != conf.KeySize:
			return fmt.Errorf("a key of %d bytes", len(key))
		case slices.ContainsFunc(keys, func(k conf.Secret) bool { return bytes.Equal(k, key) }):
			return nil
		case len(keys) > 1:
			return fmt.Errorf("another change of the key is under way here")
		}
		return n.setKeys(append(keys, key), true)
	case "use":
		if at < 0 {
			return fmt.Errorf("no key %s here", o.Pin)
		}
		if at == 0 {
			return nil
		}
		key := keys[at]
		return n.setKeys(append([]conf.Secret{key}, slices.Delete(keys, at, at+1)...), true)
	case "drop":
		if at < 0 {
			return nil
		}
		if at == 0 {
			return fmt.Errorf("key %s seals here; it cannot be dropped", o.Pin)
		}
		return n.setKeys(slices.Delete(keys, at, at+1), true)
	case "show", "get":
		return nil
	}
	return fmt.Errorf("order %q is of another version", o.Do)
}

func (n *node) serveKeys(_ context.Context, peer ring.NodeID, conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadSlice('\n') // its buffer bounds the line
		if err != nil {
			return
		}
		var o keyOrder
		var r keyReply
		if err = json.Unmarshal(line, &o); err == nil {
			err = n.keyStep(o)
		}
		if err != nil {
			r.Error = err.Error()
		}
		keys := n.keyring()
		r.Pins = pinsOf(keys)
		if o.Do == "get" && !n.roster.State().Gone(peer) {
			for _, k := range keys {
				r.Keys = append(r.Keys, k)
			}
		}
		if err := json.NewEncoder(conn).Encode(r); err != nil {
			return
		}
	}
}

// askKeys has a node do an order; this node does its own.
func (n *node) askKeys(ctx context.Context, id ring.NodeID, o keyOrder) (r keyReply, err error) {
	if id == n.file.Node.ID {
		err = n.keyStep(o)
		return keyReply{Pins: pinsOf(n.keyring())}, err
	}
	err = n.client.Call(ctx, id, keyService, func(conn net.Conn) error {
		if d, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(d); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(conn).Encode(o); err != nil {
			return err
		}
		line, err := bufio.NewReader(conn).ReadSlice('\n')
		if err != nil {
			return err
		}
		return json.Unmarshal(line, &r)
	})
	if err == nil && r.Error != "" {
		err = fmt.Errorf("%s", r.Error)
	}
	if err != nil {
		err = fmt.Errorf("node %s: %w", n.known.name(id), err)
	}
	return r, err
}

// fetchKeys asks the others, at the start, for keys that came while this node was
// away. It works as long as they accept one that it has.
func (n *node) fetchKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, whoisTimeout)
	defer cancel()
	own := n.keyring()
	var mu sync.Mutex
	var newer []conf.Secret
	var wg sync.WaitGroup
	for _, p := range n.peers() {
		wg.Go(func() {
			r, err := n.askKeys(ctx, p.ID, keyOrder{Do: "get"})
			if err != nil || len(r.Keys) == 0 || len(r.Keys) > conf.MaxKeys {
				return // it may be down, as in a cold start
			}
			var keys []conf.Secret
			for _, k := range r.Keys {
				if len(k) != conf.KeySize {
					return
				}
				keys = append(keys, k)
			}
			mu.Lock()
			defer mu.Unlock()
			if pins := pinsOf(keys); pins[0] != pinOf(own[0]) && !slices.Contains(pinsOf(own), pins[0]) {
				newer = keys
			}
		})
	}
	wg.Wait()
	if newer == nil {
		return
	}
	if err := n.setKeys(newer, true); err != nil {
		n.log.Error("the cluster's key was changed while this node was away, and the new one cannot be written down", slog.Any("err", err))
	}
}

// Keys says which keys each node has, by their pins.
func (m membership) Keys(ctx context.Context) (admin.KeyAnswer, error) {
	a := admin.KeyAnswer{Nodes: []admin.KeyNode{}}
	states, _ := m.n.keyStates(ctx)
	for _, s := range states {
		a.Nodes = append(a.Nodes, s.KeyNode)
	}
	a.Pin = pinOf(m.n.keyring()[0])
	return a, nil
}

type keyState struct {
	id ring.NodeID
	admin.KeyNode
	err error
}

// keyStates asks all nodes on the list, and those of the view.
func (n *node) keyStates(ctx context.Context) (states []keyState, away []string) {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	ids := n.known.ids()
	slices.Sort(ids)
	states = make([]keyState, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			r, err := n.askKeys(ctx, id, keyOrder{Do: "show"})
			states[i] = keyState{id, admin.KeyNode{Name: n.known.name(id), Pins: r.Pins, Reached: err == nil}, err}
		})
	}
	wg.Wait()
	for _, s := range states {
		if s.err != nil {
			away = append(away, s.Name)
		}
	}
	return states, away
}

// ChangeKey changes the cluster's key while all runs. without names nodes that
// are away and will have to join anew.
func (m membership) ChangeKey(ctx context.Context, without []string) (admin.KeyAnswer, error) {
	n := m.n
	if !n.host.Primary() {
		return admin.KeyAnswer{}, ring.ErrNotPrimary
	}
	states, away := n.keyStates(ctx)
	away = slices.DeleteFunc(away, func(name string) bool { return slices.Contains(without, name) })
	if len(away) > 0 {
		return admin.KeyAnswer{}, fmt.Errorf("%w: %s cannot be asked; start them, forget them (rainctl node forget), or leave them out (--without) and let them join anew", admin.ErrConflict, strings.Join(away, ", "))
	}
	states = slices.DeleteFunc(states, func(s keyState) bool { return s.err != nil })
	key, err := n.nextKey(ctx, states)
	if err != nil {
		return admin.KeyAnswer{}, err
	}
	pin := pinOf(key)
	var old []string
	for _, s := range states {
		for _, p := range s.Pins {
			if p != pin && !slices.Contains(old, p) {
				old = append(old, p)
			}
		}
	}
	steps := []keyOrder{{Do: "add", Key: key}, {Do: "use", Pin: pin}}
	for _, p := range old {
		steps = append(steps, keyOrder{Do: "drop", Pin: p})
	}
	for _, o := range steps {
		for _, s := range states {
			ctx, cancel := context.WithTimeout(ctx, keyTimeout)
			_, err := n.askKeys(ctx, s.id, o)
			cancel()
			if err != nil {
				return admin.KeyAnswer{}, fmt.Errorf("%w: step %q of the change: %w; all nodes still understand each other; give the order again when that is mended", admin.ErrConflict, o.Do, err)
			}
		}
	}
	n.host.AddEvent("key", "the cluster key was changed to "+pin, "an operator's order", 0)
	return m.Keys(ctx)
}

// nextKey is the key to change to: that of a change that was interrupted, or a
// new one, whose pin is on the token before anybody has it.
func (n *node) nextKey(ctx context.Context, states []keyState) (conf.Secret, error) {
	target := n.roster.State().Key
	pin := hex.EncodeToString(target[:])
	for _, s := range states {
		if len(s.Pins) < 2 || !slices.Contains(s.Pins, pin) {
			continue
		}
		for _, k := range n.keyring() {
			if pinOf(k) == pin {
				return k, nil
			}
		}
		r, err := n.askKeys(ctx, s.id, keyOrder{Do: "get"})
		if err != nil {
			return nil, err
		}
		for _, k := range r.Keys {
			if len(k) == conf.KeySize && pinOf(k) == pin {
				return k, nil
			}
		}
	}
	key := make(conf.Secret, conf.KeySize)
	rand.Read(key) // never fails
	op := roster.Op{Kind: roster.ChangeKey}
	if _, err := hex.Decode(op.Key[:], []byte(pinOf(key))); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	_, err := n.proposeRoster(ctx, op)
	return key, err
}
