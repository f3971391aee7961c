package node

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"rain/cmd/internal/invite"
	"rain/conf"
	"rain/ring"
	"rain/ring/host/bulk"
	"rain/ring/roster"
	"rain/snow/admin"
)

// membership is how nodes come and go, for operators.
type membership struct{ n *node }

// Bounds of an invitation's life.
const (
	defaultInvitation = time.Hour
	maxInvitation     = 7 * 24 * time.Hour
)

// Invite makes an invitation. Its secret is in the answer and nowhere else.
func (m membership) Invite(ctx context.Context, o admin.InviteOrder) (admin.Invited, error) {
	n := m.n
	valid := time.Duration(o.ValidS) * time.Second
	if valid == 0 {
		valid = defaultInvitation
	}
	if valid < time.Second || valid > maxInvitation {
		return admin.Invited{}, fmt.Errorf("%w: an invitation lives from 1s to %v, not %v", admin.ErrBadInput, maxInvitation, valid)
	}
	if o.Name != "" && !conf.ValidName(o.Name) {
		return admin.Invited{}, fmt.Errorf("%w: name %q: 1 to 63 of a-z, 0-9 and -, not - at an end", admin.ErrBadInput, o.Name)
	}
	pin, err := bulk.Pin(n.keyring()[0])
	if err != nil {
		return admin.Invited{}, err
	}
	now := time.Now()
	t := invite.New(n.file.Cluster.Name, pin, now.Add(valid), m.doors())
	op := roster.Op{
		Kind: roster.Invite, Invitation: t.ID, Hash: t.Secret.Hash(),
		NowMS: uint64(now.UnixMilli()), ExpiresMS: uint64(t.Expires.UnixMilli()), Name: o.Name,
	}
	if _, err := n.proposeRoster(ctx, op); err != nil {
		return admin.Invited{}, refusal(err)
	}
	id := hex.EncodeToString(t.ID[:])
	n.host.AddEvent("invite", "invitation "+id+orFor(o.Name)+", until "+t.Expires.Format(time.RFC3339), "an operator's order", 0)
	return admin.Invited{ID: id, Token: t.String(), Name: o.Name, Cluster: n.file.Cluster.Name, Expires: t.Expires, Pin: hex.EncodeToString(pin[:8])}, nil
}

func orFor(name string) string {
	if name == "" {
		return ""
	}
	return " for " + name
}

// doors are where a new box can knock: here first, then at the others.
func (m membership) doors() []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range m.n.file.Links {
		out = append(out, l.Listen)
	}
	for _, v := range m.n.host.View().Members {
		if x, ok := m.n.roster.State().Node(v.ID); ok && v.ID != m.n.file.Node.ID && len(x.Links) > 0 {
			out = append(out, x.Links[0])
		}
	}
	return out
}

// refusal gives the roster's no its place among the errors of the admin address.
func refusal(err error) error {
	r, ok := errors.AsType[*rosterError](err)
	if !ok {
		return err
	}
	switch r.Refusal {
	case roster.NotFound:
		return fmt.Errorf("%w: %s", admin.ErrNotFound, r.Text)
	case roster.Malformed:
		return fmt.Errorf("%w: %s", admin.ErrBadInput, r.Text)
	}
	return fmt.Errorf("%w: %s", admin.ErrConflict, r.Text)
}

// Invitations lists what was made and has not expired, used ones too.
func (m membership) Invitations() []admin.Invitation {
	out := []admin.Invitation{}
	for _, v := range m.n.roster.State().Invitations {
		x := admin.Invitation{
			ID: hex.EncodeToString(v.ID[:]), Name: v.Name, By: m.n.known.name(v.By),
			Expires: time.UnixMilli(int64(v.ExpiresMS)).UTC(), State: "open",
		}
		switch {
		case v.Used != 0:
			x.State, x.Node = "used", m.n.known.name(v.Used)
		case !x.Expires.After(time.Now()):
			x.State = "expired"
		}
		out = append(out, x)
	}
	return out
}

// Revoke takes an invitation back.
func (m membership) Revoke(ctx context.Context, id string) error {
	op := roster.Op{Kind: roster.Revoke}
	if b, err := hex.DecodeString(id); err != nil || copy(op.Invitation[:], b) != len(op.Invitation) || len(b) != len(op.Invitation) {
		return fmt.Errorf("%w: %q is no invitation's id", admin.ErrBadInput, id)
	}
	_, err := m.n.proposeRoster(ctx, op)
	return refusal(err)
}

// Leave has this node hand over what it holds, leave the ring and end.
func (m membership) Leave(name string) error {
	id, ok := m.n.known.id(name)
	switch {
	case !ok:
		return fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	case id != m.n.file.Node.ID:
		return fmt.Errorf("node %s: %w", name, admin.ErrWrongNode)
	}
	m.n.log.Info("leaving, as ordered")
	m.n.stop(errLeave)
	return nil
}

var errLeave = errors.New("node: ordered to leave")

// Forget takes a node that is no member off the cluster's list.
func (m membership) Forget(ctx context.Context, name string) error {
	id, ok := m.n.known.id(name)
	if !ok {
		return fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	}
	_, err := m.n.proposeRoster(ctx, roster.Op{Kind: roster.Forget, ID: id})
	if err == nil {
		m.n.host.AddEvent("node", name+" was forgotten", "an operator's order", 0)
	}
	return refusal(err)
}

// answerDoor lets a new box in, or says why not. Who cannot prove an invitation
// learns nothing but that.
func (n *node) answerDoor(ctx context.Context, from netip.AddrPort, request []byte) []byte {
	var r invite.Request
	a := invite.Answer{Version: invite.Version, By: n.file.Node.Name}
	err := json.Unmarshal(request, &r)
	if err == nil && r.Version != invite.Version {
		err = fmt.Errorf("the box speaks version %d, this node %d; take the same release on both", r.Version, invite.Version)
	}
	if err == nil {
		err = n.letIn(ctx, from, r, &a)
	}
	if err != nil {
		n.log.Warn("a box was not let in", slog.String("from", from.String()), slog.Any("err", err))
		a = invite.Answer{Version: invite.Version, By: n.file.Node.Name, Code: "refused", Error: err.Error()}
		if errors.Is(err, ring.ErrNotPrimary) || errors.Is(err, ring.ErrOutcomeUnknown) {
			a.Code = "unavailable"
		}
	}
	out, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return out
}

var errNoInvitation = errors.New("there is no such invitation; it may have expired, been used or been revoked")

func (n *node) letIn(ctx context.Context, from netip.AddrPort, r invite.Request, a *invite.Answer) error {
	hash := r.Secret.Hash()
	v, known := n.roster.State().Invitation(r.Invitation)
	if !known || subtle.ConstantTimeCompare(v.Hash[:], hash[:]) != 1 {
		return errNoInvitation
	}
	if err := n.Ready(); err != nil {
		return fmt.Errorf("%w (%w)", err, ring.ErrNotPrimary)
	}
	if r.Name != "" && !conf.ValidName(r.Name) {
		return fmt.Errorf("%q is no name", r.Name)
	}
	if len(r.Links) == 0 || len(r.Links) > roster.MaxLinks || slices.ContainsFunc(r.Links, func(l netip.AddrPort) bool {
		return !l.IsValid() || l.Addr().IsUnspecified() || l.Addr().IsMulticast() || l.Port() == 0 || l.Addr().Is4In6()
	}) {
		return fmt.Errorf("1 to %d addresses of the box's interfaces are needed", roster.MaxLinks)
	}
	for _, id := range n.known.ids() {
		for _, l := range n.known.links(id) {
			x, listed := n.roster.State().Node(id)
			if slices.Contains(r.Links, l) && !(listed && x.ID == v.Used) {
				return fmt.Errorf("%s is the address of %s", l, n.known.name(id))
			}
		}
	}
	res, err := n.proposeRoster(ctx, roster.Op{
		Kind: roster.Redeem, Invitation: r.Invitation, Hash: hash, Nonce: r.Nonce, NowMS: uint64(time.Now().UnixMilli()),
		ID: n.nextID(), Name: r.Name, Links: r.Links, Admin: r.Admin,
	})
	if err != nil {
		return err
	}
	n.tellJoiner(res.ID, a)
	text := fmt.Sprintf("%s (%s) at %s was let in by invitation %x", a.Name, a.ID, from.Addr(), r.Invitation)
	n.host.AddEvent("join", text, "invited by "+n.known.name(v.By), 0)
	n.log.Info("a new node was let in", slog.String("name", a.Name), slog.String("id", a.ID), slog.String("from", from.String()))
	return nil
}

// nextID is above all ids that this node has heard of; the roster knows more.
func (n *node) nextID() ring.NodeID {
	id := n.file.Node.ID
	for _, other := range n.known.ids() {
		id = max(id, other)
	}
	return id + 1
}

// tellJoiner fills in what the new node's file needs.
func (n *node) tellJoiner(id ring.NodeID, a *invite.Answer) {
	s := n.roster.State()
	me, _ := s.Node(id)
	a.Cluster, a.ID, a.Name, a.Members = n.file.Cluster.Name, id.String(), me.Name, len(n.host.View().Members)
	a.Keys, a.AdminToken = conf.FormatKeys(n.keyring()...), string(n.file.Admin.Token)
	c := n.file.Cluster
	a.Preset, a.Detection, a.Policy, a.Relay, a.Witness = c.Preset, n.detection(), c.Policy, c.Relay, c.Witness
	a.Driver, a.VIPPort, a.AdminPort = n.file.VIP.Driver, n.file.Web.VIPPort, n.file.Admin.Listen.Port()
	a.WebPort = uint16(n.file.Web.VIPPort)
	if len(n.file.Web.Listen) > 0 {
		a.WebPort = n.file.Web.Listen[0].Port()
	}
	pools := n.vips.Table().Pools()
	if len(pools) == 0 {
		pools = n.filePools // they are on their way to the token
	}
	for _, p := range pools {
		pool := invite.Pool{Name: p.Name, Interface: p.Interface}
		for _, x := range p.Addresses {
			pool.Addresses = append(pool.Addresses, x.String())
		}
		a.Pools = append(a.Pools, pool)
	}
	for _, other := range n.known.ids() {
		if other != id && len(n.known.links(other)) > 0 {
			a.Peers = append(a.Peers, invite.Peer{ID: other.String(), Name: n.known.name(other), Links: n.known.links(other)})
			if slices.Contains(c.Founders, other) {
				a.Founders = append(a.Founders, other.String())
			}
		}
	}
	if len(a.Founders) == 0 { // all were forgotten; it only looks for them, as for any peer
		a.Founders = []string{n.file.Node.ID.String()}
	}
	slices.SortFunc(a.Peers, func(x, y invite.Peer) int { return compareIDs(x.ID, y.ID) })
	slices.SortFunc(a.Founders, compareIDs)
}

func compareIDs(a, b string) int {
	x, errX := ring.ParseNodeID(a)
	y, errY := ring.ParseNodeID(b)
	if errX != nil || errY != nil {
		return 0 // both were written from ids
	}
	return int(int64(x) - int64(y))
}
