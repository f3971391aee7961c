package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"rain/conf"
	"rain/ring"
	"rain/ring/host"
	"rain/ring/roster"
)

// peerBook is whom this node looks for at its start: the peers of its file, and
// those that it met later, kept in a file beside it. What the roster on the
// ring's disk says is added when that was read.
type peerBook struct {
	path  string // ""; not kept
	kept  []byte // as last written
	later []conf.Peer
}

// bookVersion is that of the file: {"v":1,"nodes":[{"id","name","links"}]}. Nodes
// that it does not name are met nevertheless, when they call.
const bookVersion = 1

type bookFile struct {
	Version int        `json:"v"`
	Nodes   []bookNode `json:"nodes"`
}

type bookNode struct {
	ID    string           `json:"id"`
	Name  string           `json:"name"`
	Links []netip.AddrPort `json:"links"`
}

// bookPath is the file beside the node file.
func bookPath(nodeFile string) string {
	if nodeFile == "" {
		return ""
	}
	return strings.TrimSuffix(nodeFile, ".toml") + ".known"
}

// openBook reads what was kept. A file that does not read is as none: it only
// saves a search.
func openBook(nodeFile string, log *slog.Logger) *peerBook {
	b := &peerBook{path: bookPath(nodeFile)}
	if b.path == "" {
		return b
	}
	raw, err := os.ReadFile(b.path)
	var f bookFile
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil || f.Version != bookVersion {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("the file of known nodes is not read; it is written anew", slog.String("file", b.path), slog.Any("err", err))
		}
		return b
	}
	b.kept = raw
	for _, n := range f.Nodes {
		if id, err := ring.ParseNodeID(n.ID); err == nil && len(n.Links) > 0 {
			b.later = append(b.later, conf.Peer{ID: id, Name: n.Name, Links: n.Links})
		}
	}
	return b
}

// keep writes the roster's other nodes, if they differ from what is there.
func (b *peerBook) keep(self ring.NodeID, nodes []roster.Node) error {
	f := bookFile{Version: bookVersion, Nodes: []bookNode{}}
	for _, n := range nodes {
		if n.ID != self && !n.Gone && len(n.Links) > 0 {
			f.Nodes = append(f.Nodes, bookNode{n.ID.String(), n.Name, n.Links})
		}
	}
	raw, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	raw = append(raw, '\n')
	if b.path == "" || string(raw) == string(b.kept) {
		return nil
	}
	if err := conf.Replace(b.path, raw); err != nil {
		return err
	}
	b.kept = raw
	return nil
}

// peers are the other nodes that are known at the start, with all addresses at
// which they may be: a file may be older than the book, and the other way round.
func (n *node) peers() []conf.Peer {
	out := slices.Clone(n.file.Peers)
	for _, p := range n.book.later {
		i := slices.IndexFunc(out, func(q conf.Peer) bool { return q.ID == p.ID })
		if i < 0 {
			out = append(out, p)
			continue
		}
		out[i].Links = slices.Clone(out[i].Links)
		for _, l := range p.Links {
			if !slices.Contains(out[i].Links, l) {
				out[i].Links = append(out[i].Links, l)
			}
		}
	}
	gone := n.roster.State().Gone
	return slices.DeleteFunc(out, func(p conf.Peer) bool { return p.ID == n.file.Node.ID || gone(p.ID) })
}

// met are the ids in the book: with one in it, this cluster was founded before.
func (b *peerBook) met() []ring.NodeID {
	var ids []ring.NodeID
	for _, p := range b.later {
		ids = append(ids, p.ID)
	}
	return ids
}

// setPeer tells all layers below where a node is, once for each change.
func (n *node) setPeer(id ring.NodeID, links []netip.AddrPort) {
	if id == n.file.Node.ID || len(links) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Equal(n.placed[id], links) {
		return
	}
	n.placed[id] = slices.Clone(links)
	n.tr.SetPeer(id, links)
	n.client.SetPeer(id, links)
}

// dropPeer forgets a node that is gone for good.
func (n *node) dropPeer(id ring.NodeID) {
	n.known.forget(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, placed := n.placed[id]; placed {
		delete(n.placed, id)
		n.tr.Forget(id)
		n.client.SetPeer(id, nil)
	}
}

// followRoster keeps names, addresses and the book as the roster tells them, and
// tells it of this node.
func (n *node) followRoster(ctx context.Context) error {
	warned := ""
	for {
		s := n.roster.State()
		for _, x := range s.Nodes {
			if x.ID == n.file.Node.ID {
				continue
			}
			if x.Gone {
				n.dropPeer(x.ID)
				continue
			}
			if n.known.meet(x) {
				n.setPeer(x.ID, x.Links)
			}
		}
		if err := n.book.keep(n.file.Node.ID, s.Nodes); err != nil && warned != err.Error() {
			warned = err.Error()
			n.log.Warn("the file of known nodes cannot be kept; this node may not find the others after a change of addresses", slog.Any("err", err))
		}
		var again <-chan time.Time
		if !n.toldRoster(s) {
			n.tellRoster(ctx)
			again = time.After(5 * retryEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Changed():
		case <-again:
		}
	}
}

// toldRoster reports whether the roster has this node as it is.
func (n *node) toldRoster(s *roster.State) bool {
	me, ok := s.Node(n.file.Node.ID)
	want := myRow(n.file)
	return ok && !me.Gone && me.Name == want.Name && me.Admin == want.Admin && slices.Equal(me.Links, want.Links)
}

func (n *node) tellRoster(ctx context.Context) {
	if !n.host.Primary() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r := myRow(n.file)
	_, err := n.proposeRoster(ctx, roster.Op{Kind: roster.Tell, ID: n.file.Node.ID, Name: r.Name, Links: r.Links, Admin: r.Admin})
	refusal, _ := errors.AsType[*rosterError](err)
	n.mu.Lock()
	was := n.unlisted
	if n.unlisted = ""; refusal != nil {
		n.unlisted = refusal.Error()
	}
	news := n.unlisted != was
	n.mu.Unlock()
	if refusal != nil && refusal.Refusal == roster.Gone {
		n.log.Error("this node was taken off the cluster's list; it leaves", slog.Any("err", err))
		n.stop(errForgotten)
		return
	}
	if refusal != nil && news {
		n.log.Warn("the cluster's list does not take this node", slog.Any("err", err))
	} else if err != nil {
		n.log.Debug("telling the cluster's list of this node", slog.Any("err", err))
	}
}

// errForgotten ends a node that comes back after the cluster gave it up.
var errForgotten = errors.New("node: this node was taken off the cluster's list ('rainctl node leave', 'forget' or 'replace')")

// rosterError is the roster's no.
type rosterError struct{ roster.Result }

func (e *rosterError) Error() string { return e.Text }

// proposeRoster has an op applied, on a quorum's disks and by all members.
func (n *node) proposeRoster(ctx context.Context, op roster.Op) (roster.Result, error) {
	if err := n.awaitVersion(ctx, versionRoster); err != nil {
		return roster.Result{}, err
	}
	raw, err := n.host.Propose(ctx, ring.RiderRoster, op.Append(nil), host.Opt{Durable: true, All: true})
	if err != nil {
		return roster.Result{}, err
	}
	res, err := roster.ParseResult(raw)
	if err == nil && res.Refusal != 0 {
		err = &rosterError{res}
	}
	return res, err
}
