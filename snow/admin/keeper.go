package admin

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"rain/store"
)

// Keeper looks after the store: buckets with wishes, the layout, and the health
// of what is stored. Nodes are named as in Status.
type Keeper interface {
	MakeBucket(ctx context.Context, name string, spec store.BucketSpec) (created bool, err error)
	Bucket(name string) (store.BucketInfo, error)
	Layout() LayoutAnswer
	// ChangeLayout does verb add, remove or replace; by is the new node of a
	// replace.
	ChangeLayout(ctx context.Context, verb, node, by string) error
	// Care has all nodes do the order.
	Care(ctx context.Context, o store.CareOrder) ([]store.NodeCare, error)
	// StartRewrite begins it on this node; Care tells how it goes.
	StartRewrite(bucket string) error
}

// BucketOrder is the body of PUT /api/v1/objects/BUCKET; it may be empty.
type BucketOrder struct {
	Code        string `json:"code,omitempty"`         // "n,k", or "auto": by the number of storage nodes
	MinSurvives int    `json:"min_survives,omitempty"` // losses that each object must survive when it is put
}

// Spec reads the order.
func (o BucketOrder) Spec() (store.BucketSpec, error) {
	spec := store.BucketSpec{MinSurvives: o.MinSurvives}
	if o.Code == "" || o.Code == "auto" {
		return spec, nil
	}
	n, k, _ := strings.Cut(o.Code, ",")
	var errN, errK error
	spec.Code.N, errN = strconv.Atoi(n)
	spec.Code.K, errK = strconv.Atoi(k)
	if errN != nil || errK != nil || spec.Code.K < 1 || spec.Code.N < spec.Code.K || spec.Code.N > store.MaxColumns {
		return spec, fmt.Errorf("admin: code %.40q: want \"n,k\" with 1 <= k <= n <= %d, or \"auto\": %w", o.Code, store.MaxColumns, store.ErrBadCode)
	}
	return spec, nil
}

// LayoutAnswer is the answer of GET /api/v1/layout.
type LayoutAnswer struct {
	API           int          `json:"api"`
	Version       uint64       `json:"version"` // 0: none was set, it follows the members
	RebuildAfterS int64        `json:"rebuild_after_s"`
	Nodes         []LayoutNode `json:"nodes"`
}

// LayoutNode is one node's part in the layout.
type LayoutNode struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Role  string `json:"role"`  // storage; leaving: off the layout and not empty yet; none
	State string `json:"state"` // up, down
	AwayS int64  `json:"away_s"`
	// RebuildInS is when the symbols of a storage node that is down go to spares;
	// null if it is up.
	RebuildInS *int64 `json:"rebuild_in_s"`
	Heir       string `json:"heir,omitempty"` // who replaced it
	Symbols    int    `json:"symbols"`
	Bytes      int64  `json:"stored_bytes"`   // of them, and of the small objects
	Moving     int    `json:"moving_symbols"` // of Symbols: on their way to other nodes
	MovingB    int64  `json:"moving_bytes"`
	Stuck      int    `json:"stuck_symbols"` // of Symbols: leaving, and no node can take them
	// Missing counts what it lacks and what it is to take over; null: it has not
	// told.
	Missing  *int  `json:"missing_symbols"`
	MissingB int64 `json:"missing_bytes"`
	ETAS     int64 `json:"eta_s"` // until it has them
}

// CareAnswer is the answer of GET /api/v1/store and POST /api/v1/store/VERB.
type CareAnswer struct {
	API        int              `json:"api"`
	Node       string           `json:"node"` // who asked the others
	Order      string           `json:"order"`
	Done       bool             `json:"done"`            // nothing is missing, no check runs, all answered
	Missing    int              `json:"missing_symbols"` // of all that answered, as all sums
	LeftBytes  int64            `json:"repair_left_bytes"`
	Repaired   int64            `json:"repaired_bytes"`
	Removed    int              `json:"removed"`
	RemovedB   int64            `json:"removed_bytes"`
	Bad        int              `json:"bad"`        // found by the newest checks
	Unanswered []string         `json:"unanswered"` // names
	Nodes      []store.NodeCare `json:"nodes"`
}

// CareWish is the body of POST /api/v1/store/VERB.
type CareWish struct {
	GraceMS *int64 `json:"grace_ms,omitempty"` // of gc; else the nodes' own
	Bucket  string `json:"bucket,omitempty"`   // of rewrite
}

// makeBucket makes a bucket as the body wishes.
func (c *call) makeBucket(name string) error {
	var o BucketOrder
	if err := c.json(&o); err != nil {
		return err
	}
	spec, err := o.Spec()
	if err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	var created bool
	if k := c.s.deps.Keeper; k != nil {
		created, err = k.MakeBucket(ctx, name, spec)
	} else if spec == (store.BucketSpec{}) {
		created, err = c.s.deps.Store.CreateBucket(ctx, name)
	} else {
		return fail(422, "bad_code", "this node makes buckets with the cluster's code only", "leave code and min_survives out")
	}
	if err != nil {
		return err
	}
	a := BucketAnswer{API: API, Bucket: name, Created: created}
	if k := c.s.deps.Keeper; k != nil {
		if i, err := k.Bucket(name); err == nil {
			a.BucketInfo = &i
		}
	}
	sendJSON(c.RequestCtx, createdOr200(created), a)
	return nil
}

// bucketInfos describes the buckets that are named.
func (c *call) bucketInfos(names []string) []store.BucketInfo {
	out := []store.BucketInfo{}
	if k := c.s.deps.Keeper; k != nil {
		for _, n := range names {
			if i, err := k.Bucket(n); err == nil {
				out = append(out, i)
			}
		}
	}
	return out
}

func (c *call) layout() error {
	k := c.s.deps.Keeper
	switch {
	case k == nil || len(c.path) > 2:
		return noSuchPath(string(c.Path()))
	case len(c.path) == 1:
		if err := c.allow("GET"); err != nil {
			return err
		}
		a := k.Layout()
		a.API = API
		notNil(&a.Nodes)
		sendJSON(c.RequestCtx, 200, a)
		return nil
	}
	if err := c.allow("POST"); err != nil {
		return err
	}
	var o struct {
		Node string `json:"node"`
		By   string `json:"by"`
	}
	if err := c.json(&o); err != nil {
		return err
	}
	verb := c.path[1]
	switch {
	case verb != "add" && verb != "remove" && verb != "replace":
		return noSuchPath(string(c.Path()))
	case o.Node == "" || verb == "replace" && o.By == "":
		return fail(422, "bad_input", verb+" needs a node, replace needs by, too", "")
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if err := k.ChangeLayout(ctx, verb, o.Node, o.By); err != nil {
		return err
	}
	c.s.log.Info("operator's order", slog.String("what", "layout "+verb), slog.String("node", o.Node), slog.String("by", o.By))
	sendJSON(c.RequestCtx, 200, done{API, "layout " + verb + " " + o.Node})
	return nil
}

// store serves what is done to the whole store.
func (c *call) store() error {
	k := c.s.deps.Keeper
	if k == nil || len(c.path) > 2 {
		return noSuchPath(string(c.Path()))
	}
	if len(c.path) == 1 {
		if err := c.allow("GET"); err != nil {
			return err
		}
		return c.care(store.CareOrder{Do: store.CareStatus}, store.CareStatus)
	}
	if err := c.allow("POST"); err != nil {
		return err
	}
	var w CareWish
	if err := c.json(&w); err != nil {
		return err
	}
	verb := c.path[1]
	o := store.CareOrder{Do: verb}
	switch verb {
	case store.CareCheck, store.CareRepair:
	case store.CareGC:
		if o.GraceMS = -1; w.GraceMS != nil {
			if o.GraceMS = *w.GraceMS; o.GraceMS < 0 {
				return fail(422, "bad_input", "grace_ms must not be negative", "")
			}
		}
	case "rewrite":
		if err := k.StartRewrite(w.Bucket); err != nil {
			return err
		}
		o.Do = store.CareStatus
	default:
		return noSuchPath(string(c.Path()))
	}
	c.s.log.Info("operator's order", slog.String("what", "store "+verb))
	return c.care(o, verb)
}

// careTime bounds an order that all nodes work on.
const careTime = 40 * time.Second

func (c *call) care(o store.CareOrder, verb string) error {
	ctx, cancel := context.WithTimeout(c.s.base, careTime)
	defer cancel()
	nodes, err := c.s.deps.Keeper.Care(ctx, o)
	if err != nil {
		return fmt.Errorf("admin: store %s: %w", verb, err)
	}
	a := CareAnswer{API: API, Node: c.s.cfg.Node, Order: verb, Done: true, Nodes: nodes, Unanswered: []string{}}
	for _, n := range nodes {
		if n.Error != "" {
			a.Unanswered = append(a.Unanswered, n.Node)
			a.Done = false
			continue
		}
		a.Missing += n.Missing
		a.LeftBytes += n.LeftBytes
		a.Repaired += n.RepairedBytes
		a.Removed += n.Removed
		a.RemovedB += n.RemovedBytes
		if n.Check != nil {
			a.Bad += n.Check.Bad
			a.Done = a.Done && !n.Check.Running
		}
		a.Done = a.Done && n.Missing == 0 && (n.Rewrite == nil || !n.Rewrite.Running)
	}
	notNil(&a.Nodes)
	sendJSON(c.RequestCtx, 200, a)
	return nil
}
