package node

import (
	"context"
	"fmt"

	"rain/ring"
	"rain/snow/admin"
	"rain/store"
)

// keeper is the store as operators look after it: with names for ids.
type keeper struct{ n *node }

func (k keeper) MakeBucket(ctx context.Context, name string, spec store.BucketSpec) (bool, error) {
	return k.n.store.MakeBucket(ctx, name, spec)
}

func (k keeper) Bucket(name string) (store.BucketInfo, error) { return k.n.store.Bucket(name) }

func (k keeper) StartRewrite(bucket string) error { return k.n.store.StartRewrite(bucket) }

func (k keeper) Care(ctx context.Context, o store.CareOrder) ([]store.NodeCare, error) {
	list, err := k.n.store.Care(ctx, o)
	for i := range list {
		list[i].Node = k.n.known.name(list[i].ID)
	}
	return list, err
}

// id finds a node that the cluster has ever met.
func (k keeper) id(name string) (ring.NodeID, error) {
	id, ok := k.n.known.id(name)
	if !ok {
		return 0, fmt.Errorf("node %s: %w; start it first, so that the others know it", name, admin.ErrNotFound)
	}
	return id, nil
}

func (k keeper) ChangeLayout(ctx context.Context, verb, node, by string) error {
	id, err := k.id(node)
	if err != nil {
		return err
	}
	switch verb {
	case "add":
		return k.n.store.AddStorage(ctx, id)
	case "remove":
		return k.n.store.RemoveStorage(ctx, id)
	case "replace":
		heir, err := k.id(by)
		if err != nil {
			return err
		}
		return k.n.store.ReplaceStorage(ctx, id, heir)
	}
	return fmt.Errorf("layout %s: %w", verb, admin.ErrBadInput)
}

func (k keeper) Layout() admin.LayoutAnswer {
	r := k.n.store.Layout()
	a := admin.LayoutAnswer{Version: r.Version, RebuildAfterS: int64(r.RebuildAfter.Seconds())}
	for _, s := range r.Nodes {
		n := admin.LayoutNode{
			Name: k.n.known.name(s.ID), ID: s.ID.String(), Role: "none", State: "down", AwayS: int64(s.Away.Seconds()),
			Heir: k.n.known.name(s.Heir), Symbols: s.Symbols, Bytes: s.Bytes,
			Moving: s.Moving, MovingB: s.MovingBytes, Stuck: s.Stuck, MissingB: s.MissingBytes, ETAS: int64(s.ETA.Seconds()),
		}
		switch {
		case s.Storage:
			n.Role = "storage"
		case s.Symbols > 0:
			n.Role = "leaving"
		}
		if s.Missing >= 0 {
			n.Missing = &s.Missing
		}
		if s.Up {
			n.State = "up"
			n.Bytes += r.WholeBytes
		} else if s.Storage {
			in := max(0, int64((r.RebuildAfter - s.Away).Seconds()))
			n.RebuildInS = &in
		}
		a.Nodes = append(a.Nodes, n)
	}
	return a
}
