package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"rain/ring"
	"rain/store"
)

// order stands for the ring: it applies each op on all members, in one order. A
// program takes ring/host for it, or a shell of its own round ring.Machine.
type order struct {
	mu    sync.Mutex
	index uint64
	boxes []*box
}

// box is a node: a store, and what the store needs of ring and network.
type box struct {
	*order
	id       ring.NodeID
	store    *store.Store
	rider    ring.Rider
	services map[string]func(context.Context, ring.NodeID, net.Conn)
	down     bool
}

// Propose applies an op everywhere. Here all have it on disk at once.
func (b *box) Propose(_ context.Context, op []byte) (result []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	for _, o := range b.boxes {
		r := o.rider.Apply(b.index, ring.Member{ID: b.id, Inc: 1}, op)
		if o == b {
			result = r
		}
	}
	return result, nil
}

func (b *box) Members() (ids []ring.NodeID) {
	for _, o := range b.boxes {
		ids = append(ids, o.id)
	}
	return ids
}

func (b *box) Self() ring.NodeID      { return b.id }
func (b *box) Storage() []ring.NodeID { return b.Members() }
func (b *box) Known() []ring.NodeID   { return b.Members() }
func (b *box) Ready() error           { return nil }

func (b *box) Handle(service string, h func(context.Context, ring.NodeID, net.Conn)) {
	b.services[service] = h
}

// Call runs f on a connection to another box.
func (b *box) Call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error {
	to := b.boxes[slices.Index(b.Members(), peer)]
	if to.down {
		return errors.New("no route")
	}
	here, there := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		to.services[service](ctx, b.id, there)
	}()
	err := f(here)
	_ = here.Close() // ends the handler
	<-served
	return err
}

// three runs a store on each of three boxes, below dir, while f runs.
func three(dir string, f func(ctx context.Context, boxes []*box) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	o := &order{}
	for id := ring.NodeID(1); id <= 3; id++ {
		b := &box{order: o, id: id, services: map[string]func(context.Context, ring.NodeID, net.Conn){}}
		cfg := store.DefaultConfig()
		cfg.Dir, cfg.ReserveBytes = filepath.Join(dir, id.String()), 0
		var err error
		if b.store, err = store.New(cfg, store.Deps{Ring: b, Peers: b, Services: b}, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
		b.rider = b.store.Rider()
		o.boxes = append(o.boxes, b)
	}
	view := ring.View{Number: 1}
	for _, id := range o.boxes[0].Members() {
		view.Members = append(view.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: 1}, Since: 1})
	}
	for _, b := range o.boxes {
		b.rider.View(0, view, 0)
		running.Go(func() { _ = b.store.Run(ctx) }) // it ends with ctx
	}
	return f(ctx, o.boxes)
}

// Objects on three nodes: what one has put all others show, small or striped, and
// any one node may be gone. Of two conditional puts that race one wins.
func Example() {
	dir, err := os.MkdirTemp("", "store-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary folder
	err = three(dir, func(ctx context.Context, boxes []*box) error {
		one, two, three := boxes[0].store, boxes[1].store, boxes[2].store
		if _, err := one.CreateBucket(ctx, "letters"); err != nil {
			return err
		}
		first, _, err := one.Put(ctx, "letters", "to/anna", bytes.NewReader([]byte("dear Anna")), store.PutOptions{IfAbsent: true})
		if err != nil {
			return err
		}
		if _, _, err := two.Put(ctx, "letters", "to/anna", bytes.NewReader([]byte("Anna!")), store.PutOptions{IfMatch: first.ETag}); err != nil {
			return err
		}
		_, _, err = three.Put(ctx, "letters", "to/anna", bytes.NewReader([]byte("Anna?")), store.PutOptions{IfMatch: first.ETag})
		fmt.Println("too late:", errors.Is(err, store.ErrPrecondition))

		film := bytes.Repeat([]byte("frame "), 100_000)
		info, _, err := two.Put(ctx, "letters", "film", bytes.NewReader(film), store.PutOptions{ContentType: "video/mp4"})
		if err != nil {
			return err
		}
		fmt.Printf("%d bytes on %d nodes, any %d of them give it back\n", info.Size, info.N, info.K)

		boxes[1].down = true
		for _, key := range []string{"to/anna", "film"} {
			o, err := three.Open(ctx, "letters", key)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
			if err := errors.Join(err, o.Body.Close()); err != nil {
				return err
			}
			fmt.Printf("%s, read on node 3: %.11q, %v\n", key, body, key != "film" || bytes.Equal(body, film))
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// too late: true
	// 600000 bytes on 3 nodes, any 2 of them give it back
	// to/anna, read on node 3: "Anna!", true
	// film, read on node 3: "frame frame", true
}
