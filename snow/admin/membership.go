package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Membership is how nodes come, go, and prove that they belong.
type Membership interface {
	Invite(ctx context.Context, o InviteOrder) (Invited, error)
	Invitations() []Invitation
	Revoke(ctx context.Context, id string) error
	// Leave has this node hand over, leave the ring and end; ErrWrongNode for
	// another one.
	Leave(node string) error
	// Forget takes a node that is no member off the cluster's list.
	Forget(ctx context.Context, node string) error
	Keys(ctx context.Context) (KeyAnswer, error)
	// ChangeKey changes the cluster key while all runs; without are nodes that are
	// away and will have to join anew.
	ChangeKey(ctx context.Context, without []string) (KeyAnswer, error)
	Quorum() QuorumAnswer
	// Bootstrap starts the cluster from this node's disk alone; without force it
	// says what that risks.
	Bootstrap(ctx context.Context, force bool) error
}

// InviteOrder is the body of POST /api/v1/invitations.
type InviteOrder struct {
	Name   string `json:"name,omitempty"`    // of the node that it is for; else it may choose
	ValidS int64  `json:"valid_s,omitempty"` // 0: an hour
}

// Invited is an invitation as it is made: the only time that its token shows.
type Invited struct {
	API     int       `json:"api"`
	ID      string    `json:"id"`
	Token   string    `json:"token"`
	Name    string    `json:"name,omitempty"`
	Cluster string    `json:"cluster"`
	Expires time.Time `json:"expires"`
	Pin     string    `json:"pin"` // of the cluster key; the new box shows the same
}

// Invitation is one that was made.
type Invitation struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state"` // open, used, expired
	Node    string    `json:"node,omitempty"`
}

// InvitationsAnswer is the answer of GET /api/v1/invitations.
type InvitationsAnswer struct {
	API         int          `json:"api"`
	Invitations []Invitation `json:"invitations"`
}

// KeyAnswer is the answer of GET and POST /api/v1/key. Pins name keys and tell
// nothing of them; a node's first one is what it seals with.
type KeyAnswer struct {
	API   int       `json:"api"`
	Pin   string    `json:"pin"`
	Nodes []KeyNode `json:"nodes"`
}

// KeyNode is one node's keys.
type KeyNode struct {
	Name    string   `json:"name"`
	Reached bool     `json:"reached"`
	Pins    []string `json:"pins"`
}

// KeyOrder is the body of POST /api/v1/key.
type KeyOrder struct {
	Without []string `json:"without,omitempty"`
}

func (c *call) invitations() error {
	m := c.s.deps.Membership
	if m == nil || len(c.path) > 2 {
		return noSuchPath(string(c.Path()))
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if len(c.path) == 2 {
		if err := c.allow("DELETE"); err != nil {
			return err
		}
		if err := m.Revoke(ctx, c.path[1]); err != nil {
			return err
		}
		c.SetStatusCode(http.StatusNoContent)
		return nil
	}
	if err := c.allow("GET", "POST"); err != nil {
		return err
	}
	if c.method != "POST" {
		a := InvitationsAnswer{API: API, Invitations: m.Invitations()}
		notNil(&a.Invitations)
		sendJSON(c.RequestCtx, http.StatusOK, a)
		return nil
	}
	var o InviteOrder
	if err := c.json(&o); err != nil {
		return err
	}
	v, err := m.Invite(ctx, o)
	if err != nil {
		return err
	}
	v.API = API
	c.s.log.Info("operator's order", slog.String("what", "invite"), slog.String("invitation", v.ID))
	sendJSON(c.RequestCtx, http.StatusCreated, v)
	return nil
}

func (c *call) key() error {
	m := c.s.deps.Membership
	if m == nil || len(c.path) != 1 {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("GET", "POST"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	var a KeyAnswer
	var err error
	if c.method == "POST" {
		var o KeyOrder
		if err = c.json(&o); err != nil {
			return err
		}
		c.s.log.Info("operator's order", slog.String("what", "change the cluster key"))
		a, err = m.ChangeKey(ctx, o.Without)
	} else {
		a, err = m.Keys(ctx)
	}
	if err != nil {
		return err
	}
	a.API = API
	notNil(&a.Nodes)
	sendJSON(c.RequestCtx, http.StatusOK, a)
	return nil
}
