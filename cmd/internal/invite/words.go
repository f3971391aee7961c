package invite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rain/ring/host/bulk"
	"rain/ring/roster"
)

// Version of the words at the door. Who does not speak it says so.
const Version = 1

// Request is what a new box says: who it is to be, and that it is invited.
type Request struct {
	Version    int                 `json:"v"`
	Invitation roster.InvitationID `json:"invitation"`
	Secret     Secret              `json:"secret"`
	Nonce      roster.Nonce        `json:"nonce"`
	Name       string              `json:"name,omitempty"`
	Links      []netip.AddrPort    `json:"links"`
	Admin      string              `json:"admin,omitempty"`
}

// Answer is what the box needs to be a node. Error, if not empty, is why not.
type Answer struct {
	Version int    `json:"v"`
	Code    string `json:"code,omitempty"` // of the error, for programs
	Error   string `json:"error,omitempty"`

	By         string   `json:"by"` // name of the node that answered
	Cluster    string   `json:"cluster"`
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Keys       []byte   `json:"keys"` // content of the key file
	AdminToken string   `json:"admin_token"`
	Founders   []string `json:"founders"`
	Peers      []Peer   `json:"peers"`
	Preset     string   `json:"preset"`
	Detection  string   `json:"detection"`
	Policy     string   `json:"policy"`
	Relay      bool     `json:"relay"`
	Witness    string   `json:"witness,omitempty"`
	WebPort    uint16   `json:"web_port"`
	AdminPort  uint16   `json:"admin_port"`
	VIPPort    int      `json:"vip_port"`
	Driver     string   `json:"driver"`
	Pools      []Pool   `json:"pools"`
	Members    int      `json:"members"`
}

// Peer is another node.
type Peer struct {
	ID    string           `json:"id"`
	Name  string           `json:"name"`
	Links []netip.AddrPort `json:"links"`
}

// Pool is a pool of virtual addresses; Interface is that of the node that
// answered.
type Pool struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface,omitempty"`
	Addresses []string `json:"addresses"`
}

// Refused is an answer that says no.
type Refused struct{ Code, Text string }

func (r *Refused) Error() string { return "the cluster refused: " + r.Text }

// askTimeout bounds one address.
const askTimeout = 35 * time.Second

// Ask knocks at the token's addresses, one after the other, until one answers.
func Ask(ctx context.Context, t Token, r Request) (Answer, error) {
	r.Version, r.Invitation, r.Secret = Version, t.ID, t.Secret
	body, err := json.Marshal(r)
	if err != nil {
		return Answer{}, fmt.Errorf("invite: %w", err)
	}
	var errs []error
	for _, at := range t.Addrs {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		raw, err := bulk.Knock(ctx, at, t.Pin, body)
		cancel()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var a Answer
		if err := json.Unmarshal(raw, &a); err != nil || a.Version != Version {
			errs = append(errs, fmt.Errorf("invite: %s answers in words of version %d, this program speaks %d (%v); take the same release on both", at, a.Version, Version, err))
			continue
		}
		if a.Code == "unavailable" {
			errs = append(errs, &Refused{a.Code, a.Error}) // another node may know more
			continue
		}
		if a.Error != "" {
			return Answer{}, &Refused{a.Code, a.Error}
		}
		return a, nil
	}
	return Answer{}, fmt.Errorf("invite: nobody let this box in: %w", errors.Join(errs...))
}
