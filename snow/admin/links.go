package admin

import "time"

// LinksAnswer is what one node knows of the paths between nodes.
type LinksAnswer struct {
	API   int        `json:"api"`
	Node  string     `json:"node"`
	Links []LinkPath `json:"links"`
	// Neighbours is what the nodes that this one hears say of their own paths.
	Neighbours []Neighbour `json:"neighbours"`
	Relays     []Relay     `json:"relays"`
	// Carried is how many datagrams this node has passed on for others.
	Carried uint64 `json:"carried"`
}

// LinkPath is a Link with what only its own node knows.
type LinkPath struct {
	Link
	Local       string       `json:"local"` // addresses with ports
	Remote      string       `json:"remote"`
	PingEveryMS int64        `json:"ping_every_ms"`
	Flaps       bool         `json:"flaps"` // it must prove itself for longer than usual
	History     []LinkChange `json:"history,omitempty"`
}

// LinkChange is one transition of a path. Both ends count the same ones from the
// moment on at which the younger of the two nodes started.
type LinkChange struct {
	At    time.Time `json:"at"`
	State string    `json:"state"` // up, down
	Count uint64    `json:"count"`
	Cause string    `json:"cause"` // silence, echoes, follow, restart
}

// Neighbour says that From has so many of its paths to To up.
type Neighbour struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Up    int    `json:"up"`
	Paths int    `json:"paths"`
}

// Relay says which neighbours stand by to carry messages to a node.
type Relay struct {
	To   string   `json:"to"`
	Via  []string `json:"via"`
	Only bool     `json:"only"` // there is no other way now
}

// links answers GET /api/v1/links[?history=1].
func (c *call) links() error {
	if c.s.deps.Links == nil || len(c.path) != 1 {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("GET"); err != nil {
		return err
	}
	a := c.s.deps.Links(c.QueryArgs().Has("history"))
	a.API = API
	notNil(&a.Links)
	notNil(&a.Neighbours)
	notNil(&a.Relays)
	sendJSON(c.RequestCtx, 200, a)
	return nil
}
