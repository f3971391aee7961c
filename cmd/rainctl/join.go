package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/invite"
	"rain/conf"
	"rain/ring"
	"rain/ring/host/bulk"
	"rain/ring/roster"
)

type joinCmd struct {
	Invitation string   `arg:"" help:"What 'rainctl invite' printed; - reads it from standard input."`
	Dir        string   `arg:"" help:"Folder for the node's file, key and token; made if missing."`
	Node       string   `help:"Name of this node. Default: n and its number."`
	Listen     []string `placeholder:"IP[:PORT]" help:"The interfaces that the nodes meet on. Default: those that lead to the cluster."`
	Web        string   `placeholder:"IP:PORT" help:"Where the sites are served on this node's own address. Default: the first interface, the others' port."`
	AdminAt    string   `name:"admin-listen" placeholder:"IP:PORT" help:"Where rainctl asks. Default: the first interface, the others' port."`
	Iface      string   `name:"interface" help:"The interface that gets the virtual addresses. Default: the one in their network."`
	NoVIP      bool     `name:"no-vip" help:"This node takes no virtual addresses."`
}

// fileNonce keeps a joiner's nonce until it is in, so that a try that was cut
// short can be repeated with the same invitation.
const fileNonce = ".join"

func (c *joinCmd) Run(a *app) error {
	text := c.Invitation
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin, 4096))
		if err != nil {
			return fmt.Errorf("rainctl: %w", err)
		}
		text = string(b)
	}
	token, err := invite.Parse(text)
	if err != nil {
		return &cli.Error{Exit: cli.BadInput, Code: "bad_invitation", Err: err}
	}
	if c.Node != "" && !conf.ValidName(c.Node) {
		return usage("--node %s: 1 to 63 of a-z, 0-9 and -, not - at an end", c.Node)
	}
	links, err := ownLinks(c.Listen, token.Addrs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return &cli.Error{Exit: cli.BadInput, Code: "bad_folder", Err: err}
	}
	if err := fresh(c.Dir); err != nil {
		return err
	}
	r := invite.Request{Name: c.Node}
	if r.Nonce, err = nonce(c.Dir); err != nil {
		return err
	}
	for _, l := range links {
		r.Links = append(r.Links, l.Listen)
	}
	answer, err := invite.Ask(a.ctx, token, r)
	if err != nil {
		return refusedJoin(token, err)
	}
	f, err := c.file(answer, links)
	if err != nil {
		return err
	}
	keys, err := conf.ParseKeys(answer.Keys)
	if err != nil {
		return fmt.Errorf("rainctl: %s gave a key file that does not read: %w", answer.By, err)
	}
	if err := writeNode(c.Dir, f, answer.Keys, answer.AdminToken); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(c.Dir, fileNonce)) // it is of no use any more, and does no harm
	pin, err := bulk.Pin(keys[0])
	if err != nil {
		return fmt.Errorf("rainctl: %w", err)
	}
	return a.madeNode(c.Dir, f, answer.By, func(w io.Writer) {
		fmt.Fprintf(w, "%s of cluster %s (key %s) let this box in as %s, beside %d others.\n", safe(answer.By), safe(answer.Cluster), hex.EncodeToString(pin[:8]), safe(answer.Name), answer.Members)
	})
}

// refusedJoin gives the cluster's no its exit code.
func refusedJoin(t invite.Token, err error) error {
	no, refused := errors.AsType[*invite.Refused](err)
	switch {
	case errors.Is(err, bulk.ErrOtherKey):
		return cli.New(cli.Denied, "other_key", "if the cluster key was changed since, make a new invitation; else look who answers at that address", "%w", err)
	case refused && no.Code == "refused":
		return cli.New(cli.Conflict, "refused", "make a new invitation with 'rainctl invite' on a node of the cluster", "%w", err)
	case time.Now().After(t.Expires):
		return cli.New(cli.Conflict, "expired", "make a new one with 'rainctl invite'", "the invitation expired at %s (%w)", t.Expires.Format(time.RFC3339), err)
	}
	return cli.New(cli.Unavailable, "unavailable", "is a node of the cluster running, and are UDP and TCP open between the boxes?", "%w", err)
}

// nonce is this joiner's own; a repeat finds it again.
func nonce(dir string) (n roster.Nonce, err error) {
	path := filepath.Join(dir, fileNonce)
	if raw, err := os.ReadFile(path); err == nil {
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw))); err == nil && len(b) == len(n) {
			copy(n[:], b)
			return n, nil
		}
	}
	rand.Read(n[:]) // never fails
	return n, conf.Replace(path, []byte(base64.StdEncoding.EncodeToString(n[:])+"\n"))
}

// file is the new node's file, from what the cluster told.
func (c *joinCmd) file(a invite.Answer, links []conf.Link) (*conf.File, error) {
	f := conf.Default()
	var err error
	bad := func(what string, err error) error {
		return fmt.Errorf("rainctl: %s told %s that does not read: %w; take the same release on both", a.By, what, err)
	}
	f.Node.Name = a.Name
	if f.Node.ID, err = ring.ParseNodeID(a.ID); err != nil {
		return nil, bad("an id", err)
	}
	f.Cluster.Name, f.Cluster.Preset, f.Cluster.Detection, f.Cluster.Policy, f.Cluster.Relay = a.Cluster, a.Preset, a.Detection, a.Policy, a.Relay
	f.Cluster.Witness = a.Witness
	for _, s := range a.Founders {
		id, err := ring.ParseNodeID(s)
		if err != nil {
			return nil, bad("a founder", err)
		}
		f.Cluster.Founders = append(f.Cluster.Founders, id)
	}
	for _, p := range a.Peers {
		id, err := ring.ParseNodeID(p.ID)
		if err != nil {
			return nil, bad("a peer", err)
		}
		f.Peers = append(f.Peers, conf.Peer{ID: id, Name: p.Name, Links: p.Links})
	}
	f.Links = links
	if err := addresses(f, c.Web, c.AdminAt, a.WebPort, a.AdminPort); err != nil {
		return nil, err
	}
	f.Web.VIPPort = a.VIPPort
	loopback := true
	for _, p := range a.Pools {
		pool := conf.Pool{Name: p.Name, Interface: p.Interface}
		if c.Iface != "" {
			pool.Interface = c.Iface
		}
		for _, s := range p.Addresses {
			x, err := netip.ParsePrefix(s)
			if err != nil {
				return nil, bad("a virtual address", err)
			}
			pool.Addresses = append(pool.Addresses, x)
			loopback = loopback && x.Addr().IsLoopback()
		}
		f.VIP.Pools = append(f.VIP.Pools, pool)
	}
	if c.NoVIP || len(f.VIP.Pools) == 0 {
		return f, nil
	}
	f.VIP, err = vipDriver(f.VIP, loopback)
	return f, err
}
