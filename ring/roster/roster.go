// Package roster is the list of a cluster's nodes that rides on the token: their
// names, ids and addresses, also of those that are away, and the invitations by
// which new ones come. It is a ring.Rider: pure, and equal on all members.
//
// Guarantees: an id is given once and never again, also after its node was
// forgotten; two nodes that are not forgotten never have one name; an invitation
// lets in one node, before it expires, and a repeat by that same node (same
// nonce) gets the same answer.
//
// Limits: MaxNodes nodes, forgotten ones included; MaxInvitations invitations
// that have not expired; MaxLinks addresses a node; names of 63 bytes. Times are
// wall clock milliseconds and ride in the ops: an invitation expires by the
// clock of the node that is asked. The secret of an invitation is not in here,
// only its SHA-256.
//
// An empty roster is that of a cluster whose nodes came by their files alone;
// each node writes itself into it.
package roster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"rain/ring"
)

// Bounds of what ops can cause.
const (
	MaxNodes       = 1024
	MaxInvitations = 256
	MaxLinks       = 8
	MaxName        = 63
	MaxURL         = 255
)

// Node is one node of the cluster.
type Node struct {
	ID    ring.NodeID
	Name  string
	Links []netip.AddrPort
	Admin string // URL of its admin address
	Gone  bool   // forgotten: it never comes back under this id
}

// InvitationID names an invitation; it is no secret.
type InvitationID [8]byte

// Nonce is a joiner's own; it tells its repeat from another's try.
type Nonce [16]byte

// KeyPin tells one cluster key from another and nothing more.
type KeyPin [8]byte

// Invitation lets in one node.
type Invitation struct {
	ID        InvitationID
	Hash      [32]byte // SHA-256 of its secret
	ExpiresMS uint64
	Name      string      // of the node that it is for; "": any
	By        ring.NodeID // who made it
	Used      ring.NodeID // the id that it gave; 0: none yet
	Nonce     Nonce       // of who used it
}

// State is a roster at one point of the log. Nobody changes one.
type State struct {
	Index       uint64
	Nodes       []Node       // by id
	Invitations []Invitation // by id
	Key         KeyPin       // of the cluster key that all nodes have or are going over to; zero: the first one
	View        ring.View

	changed chan struct{}
}

// Changed is closed when there is a newer state.
func (s *State) Changed() <-chan struct{} { return s.changed }

// Node finds a node by id.
func (s *State) Node(id ring.NodeID) (Node, bool) {
	i, ok := slices.BinarySearchFunc(s.Nodes, id, byID)
	if !ok {
		return Node{}, false
	}
	return s.Nodes[i], true
}

// Gone reports whether the node with that id was forgotten.
func (s *State) Gone(id ring.NodeID) bool {
	n, ok := s.Node(id)
	return ok && n.Gone
}

// Invitation finds an invitation.
func (s *State) Invitation(id InvitationID) (Invitation, bool) {
	i, ok := slices.BinarySearchFunc(s.Invitations, id, byInvitation)
	if !ok {
		return Invitation{}, false
	}
	return s.Invitations[i], true
}

func byID(n Node, id ring.NodeID) int { return cmp.Compare(n.ID, id) }

func byInvitation(v Invitation, id InvitationID) int { return slices.Compare(v.ID[:], id[:]) }

// Rider is the roster on the token. Apply, View, Snapshot and Restore belong to
// one goroutine; State may be called from anywhere.
type Rider struct {
	now atomic.Pointer[State]
}

var _ ring.Rider = (*Rider)(nil)

// NewRider returns an empty roster.
func NewRider() *Rider {
	r := &Rider{}
	r.now.Store(&State{changed: make(chan struct{})})
	return r
}

// State is the newest state.
func (r *Rider) State() *State { return r.now.Load() }

func (r *Rider) publish(s *State) {
	s.changed = make(chan struct{})
	close(r.now.Swap(s).changed)
}

// View notes who is a member: members are not forgotten.
func (r *Rider) View(index uint64, v ring.View, _ ring.Instant) {
	s := r.State().clone()
	s.Index, s.View = index, v
	r.publish(s)
}

func (s *State) clone() *State {
	return &State{Index: s.Index, View: s.View, Key: s.Key, Nodes: slices.Clone(s.Nodes), Invitations: slices.Clone(s.Invitations)}
}

// Apply changes the roster by one op; see Result for what it returns.
func (r *Rider) Apply(index uint64, from ring.Member, data []byte) []byte {
	op, err := ParseOp(data)
	if err != nil {
		return Result{Refusal: Malformed, Text: err.Error()}.append(nil)
	}
	s := r.State().clone()
	s.Index = index
	res := s.apply(from, op)
	if res.Refusal == 0 {
		r.publish(s)
	}
	return res.append(nil)
}

func (s *State) apply(from ring.Member, op Op) Result {
	switch op.Kind {
	case Invite:
		return s.invite(from, op)
	case Revoke:
		return s.revoke(op)
	case Redeem:
		return s.redeem(op)
	case Tell:
		return s.tell(op)
	case ChangeKey:
		s.Key = op.Key
		return Result{}
	}
	return s.forget(op)
}

func refuse(why Refusal, format string, args ...any) Result {
	return Result{Refusal: why, Text: fmt.Sprintf(format, args...)}
}

func (s *State) invite(from ring.Member, op Op) Result {
	s.Invitations = slices.DeleteFunc(s.Invitations, func(v Invitation) bool { return v.ExpiresMS <= op.NowMS })
	if len(s.Invitations) >= MaxInvitations {
		return refuse(Full, "there are %d invitations already; revoke some, or wait until they expire", len(s.Invitations))
	}
	if op.Name != "" && s.named(op.Name, 0) {
		return refuse(NameTaken, "a node is named %q already", op.Name)
	}
	i, known := slices.BinarySearchFunc(s.Invitations, op.Invitation, byInvitation)
	if known {
		return refuse(Conflict, "there is an invitation of that id")
	}
	v := Invitation{ID: op.Invitation, Hash: op.Hash, ExpiresMS: op.ExpiresMS, Name: op.Name, By: from.ID}
	s.Invitations = slices.Insert(s.Invitations, i, v)
	return Result{}
}

func (s *State) revoke(op Op) Result {
	i, known := slices.BinarySearchFunc(s.Invitations, op.Invitation, byInvitation)
	switch {
	case !known:
		return refuse(NotFound, "there is no such invitation")
	case s.Invitations[i].Used != 0:
		return refuse(Used, "it was used already, by %s", s.Invitations[i].Used)
	}
	s.Invitations = slices.Delete(s.Invitations, i, i+1)
	return Result{}
}

// redeem lets a node in: it gets an id, and its name and addresses are known
// from now on.
func (s *State) redeem(op Op) Result {
	i, known := slices.BinarySearchFunc(s.Invitations, op.Invitation, byInvitation)
	if !known {
		return refuse(NotFound, "there is no such invitation; it may have expired or been revoked")
	}
	v := &s.Invitations[i]
	switch {
	case v.Hash != op.Hash:
		return refuse(NotFound, "there is no such invitation")
	case v.Used != 0 && v.Nonce == op.Nonce:
		return Result{ID: v.Used}
	case v.Used != 0:
		return refuse(Used, "the invitation was used already, by node %s", v.Used)
	case v.ExpiresMS <= op.NowMS:
		return refuse(Expired, "the invitation has expired")
	case len(s.Nodes) >= MaxNodes:
		return refuse(Full, "%d ids are used up", len(s.Nodes))
	}
	id := s.nextID(op.ID)
	name := op.Name
	if v.Name != "" {
		name = v.Name
	}
	if name == "" {
		name = s.freeName(id)
	}
	if s.named(name, 0) {
		return refuse(NameTaken, "a node is named %q already; take another name, or forget that node if it is gone", name)
	}
	v.Used, v.Nonce = id, op.Nonce
	s.put(Node{ID: id, Name: name, Links: op.Links, Admin: op.Admin})
	return Result{ID: id}
}

// nextID is an id that no node has or had, at least from.
func (s *State) nextID(from ring.NodeID) ring.NodeID {
	taken := func(id ring.NodeID) bool {
		_, member := s.View.ByID(id)
		_, listed := s.Node(id)
		return member || listed
	}
	id := max(from, 1)
	for taken(id) {
		id++
	}
	return id
}

// freeName is a name for a node that brought none: n and its host number.
func (s *State) freeName(id ring.NodeID) string {
	name := fmt.Sprintf("n%d", id&0xffff)
	for i := 2; s.named(name, 0); i++ {
		name = fmt.Sprintf("n%d-%d", id&0xffff, i)
	}
	return name
}

// named reports whether a node other than except has the name.
func (s *State) named(name string, except ring.NodeID) bool {
	return slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == name && n.ID != except && !n.Gone })
}

func (s *State) put(n Node) {
	i, known := slices.BinarySearchFunc(s.Nodes, n.ID, byID)
	if known {
		s.Nodes[i] = n
		return
	}
	s.Nodes = slices.Insert(s.Nodes, i, n)
}

// tell writes down what a node says of itself.
func (s *State) tell(op Op) Result {
	old, known := s.Node(op.ID)
	switch {
	case known && old.Gone:
		return refuse(Gone, "node %s was taken off the cluster's list; let it join again, as a new node", op.ID)
	case s.named(op.Name, op.ID):
		return refuse(NameTaken, "another node is named %q", op.Name)
	case !known && len(s.Nodes) >= MaxNodes:
		return refuse(Full, "%d ids are used up", len(s.Nodes))
	}
	s.put(Node{ID: op.ID, Name: op.Name, Links: op.Links, Admin: op.Admin})
	return Result{ID: op.ID}
}

// forget takes a node off the list; its id stays used.
func (s *State) forget(op Op) Result {
	if _, member := s.View.ByID(op.ID); member {
		return refuse(Conflict, "node %s is a member of the ring now; stop it first", op.ID)
	}
	old, known := s.Node(op.ID)
	if !known && len(s.Nodes) >= MaxNodes {
		return refuse(Full, "%d ids are used up", len(s.Nodes))
	}
	s.put(Node{ID: op.ID, Name: old.Name, Gone: true})
	return Result{ID: op.ID}
}
