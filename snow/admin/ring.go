package admin

import (
	"log/slog"
	"net/http"
)

// QuorumAnswer is the answer of GET /api/v1/ring/quorum: what the view can lose,
// and who may die next.
type QuorumAnswer struct {
	API           int            `json:"api"`
	Node          string         `json:"node"`
	Policy        string         `json:"policy"`
	State         string         `json:"state"` // as in the status
	Primary       bool           `json:"primary"`
	Reason        string         `json:"reason"` // why it is not primary
	View          uint64         `json:"view"`
	Settled       bool           `json:"settled"`
	Need          int            `json:"need"`    // members that are a quorum, whoever they are
	MayDie        int            `json:"may_die"` // so many at once, whoever they are
	Distinguished string         `json:"distinguished"`
	Text          string         `json:"text"`
	Members       []QuorumMember `json:"members"`
}

// QuorumMember is one member of the view.
type QuorumMember struct {
	Name          string   `json:"name"`
	ID            string   `json:"id"`
	State         string   `json:"state"` // up, down
	Since         uint64   `json:"since"` // number of the view it came with
	Distinguished bool     `json:"distinguished"`
	MayDie        bool     `json:"may_die"` // now, alone
	Then          []string `json:"then"`    // who may die after it, once that has settled
}

// BootstrapOrder is the body of POST /api/v1/ring/bootstrap.
type BootstrapOrder struct {
	Force bool `json:"force"`
}

func (c *call) ring() error {
	m := c.s.deps.Membership
	if m == nil || len(c.path) != 2 {
		return noSuchPath(string(c.Path()))
	}
	switch c.path[1] {
	case "quorum":
		if err := c.allow("GET"); err != nil {
			return err
		}
		a := m.Quorum()
		a.API = API
		notNil(&a.Members)
		sendJSON(c.RequestCtx, http.StatusOK, a)
		return nil
	case "bootstrap":
		if err := c.allow("POST"); err != nil {
			return err
		}
		var o BootstrapOrder
		if err := c.json(&o); err != nil {
			return err
		}
		ctx, cancel := c.s.opContext()
		defer cancel()
		if err := m.Bootstrap(ctx, o.Force); err != nil {
			return err
		}
		c.s.log.Warn("operator's order", slog.String("what", "forced start from this disk alone"))
		sendJSON(c.RequestCtx, http.StatusOK, done{API, "bootstrap"})
		return nil
	}
	return noSuchPath(string(c.Path()))
}
