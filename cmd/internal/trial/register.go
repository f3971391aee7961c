//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// register writes, compares-and-sets, deletes and reads a few keys of the object
// API at all nodes while nodes crash, freeze and are cut off, and has Porcupine
// search each key's history for an order that a register in one place would give.
// Answers that a node marks as isolated promise nothing and are left out.
func register(ctx context.Context, c *cluster, o options) error {
	r := &registerTrial{c: c, start: time.Now(), keys: 8, seed: o.seed, done: make(chan struct{})}
	cl := c.any()
	_, err := cl.CreateBucket(ctx, "register")
	cl.Close()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() { r.work(ctx, w) })
	}
	faults, err := r.faults(ctx, o)
	if err == nil {
		sleep(ctx, 2*time.Second)
	}
	close(r.done)
	wg.Wait()
	if err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	fmt.Printf("register: %d operations on %d keys, %d with an unknown end, %d answers marked isolated, %d refused; %s; %.0f s; load %s\n",
		len(r.history), r.keys, r.unknown, r.marked, r.refused, faults, time.Since(r.start).Seconds(), load())
	return r.check(o)
}

// registerOp is one operation of a history.
type registerOp struct {
	Client int    `json:"client"`
	Node   string `json:"node"` // who answered last
	Key    string `json:"key"`
	Kind   string `json:"kind"`             // read, write, cas, delete
	Expect string `json:"expect,omitempty"` // of a cas: the value that it wants to replace
	Value  string `json:"value"`            // written, or read; "": no object
	OK     bool   `json:"ok"`               // of a cas, delete: it happened
	Call   int64  `json:"call_ns"`
	Return int64  `json:"return_ns"` // -1: nobody knows
}

type registerTrial struct {
	c     *cluster
	start time.Time
	keys  int
	seed  uint64
	done  chan struct{}

	mu                       sync.Mutex
	history                  []registerOp
	unknown, marked, refused int
}

func (r *registerTrial) now() int64 { return int64(time.Since(r.start)) }

func (r *registerTrial) add(op registerOp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if op.Return < 0 {
		r.unknown++
	}
	r.history = append(r.history, op)
}

func (r *registerTrial) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// seen is what a client last read or wrote of a key.
type seen struct{ value, etag string }

func (r *registerTrial) work(ctx context.Context, w int) {
	rng := rand.New(rand.NewPCG(r.seed, 100+uint64(w)))
	client := &http.Client{Timeout: 1500 * time.Millisecond, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	defer client.CloseIdleConnections()
	last := map[string]seen{}
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-r.done:
			return
		default:
		}
		key := fmt.Sprintf("k%d", rng.IntN(r.keys))
		op := registerOp{Client: w, Key: key, Value: fmt.Sprintf("c%d-%d", w, i)}
		switch k := rng.IntN(20); {
		case k < 11:
			r.read(ctx, client, rng, op, last)
		case k < 14:
			op.Kind = "write"
			r.change(ctx, client, rng, op, http.MethodPut, "", rng.IntN(3) > 0, last)
		case k < 19 && last[key].etag != "":
			op.Kind, op.Expect = "cas", last[key].value
			r.change(ctx, client, rng, op, http.MethodPut, last[key].etag, true, last)
		case k == 19 && rng.IntN(2) == 0:
			op.Kind, op.Value = "delete", ""
			r.change(ctx, client, rng, op, http.MethodDelete, "", true, last)
		}
		sleep(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
	}
}

type registerAnswer struct {
	code     int
	body     string
	etag     string
	isolated bool
}

func (r *registerTrial) ask(ctx context.Context, client *http.Client, node demoNode, method, key, body string, header map[string]string) (registerAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, method, node.Admin+"/api/v1/objects/register/"+key, strings.NewReader(body))
	if err != nil {
		return registerAnswer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+r.c.file.Token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return registerAnswer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return registerAnswer{resp.StatusCode, string(b), resp.Header.Get("ETag"), resp.Header.Get("X-Rain-State") != ""}, err
}

func (r *registerTrial) node(rng *rand.Rand) demoNode {
	return r.c.file.Nodes[rng.IntN(len(r.c.file.Nodes))]
}

func (r *registerTrial) read(ctx context.Context, client *http.Client, rng *rand.Rand, op registerOp, last map[string]seen) {
	op.Kind, op.Call = "read", r.now()
	node := r.node(rng)
	a, err := r.ask(ctx, client, node, http.MethodGet, op.Key, "", nil)
	op.Return, op.Node = r.now(), node.Name
	switch {
	case err != nil || a.code == http.StatusServiceUnavailable:
		r.count(&r.refused) // a read without an answer says nothing
	case a.isolated:
		r.count(&r.marked)
	case a.code == http.StatusOK:
		op.Value, op.OK = a.body, true
		last[op.Key] = seen{a.body, a.etag}
		r.add(op)
	case a.code == http.StatusNotFound:
		op.Value, op.OK = "", true
		last[op.Key] = seen{}
		r.add(op)
	default:
		op.Value, op.OK = fmt.Sprintf("unexpected answer %d", a.code), true
		r.add(op)
	}
}

// change writes, or deletes. With a key of its own it is repeated until there is
// an answer, as one operation.
func (r *registerTrial) change(ctx context.Context, client *http.Client, rng *rand.Rand, op registerOp, method, ifMatch string, keyed bool, last map[string]seen) {
	header := map[string]string{"Content-Type": "text/plain"}
	if ifMatch != "" {
		header["If-Match"] = ifMatch
	}
	if keyed {
		header["Idempotency-Key"] = fmt.Sprintf("reg-%d-%d-%d", r.seed, op.Client, r.now())
	}
	op.Call, op.Return = r.now(), -1
	doubt := false // an earlier try may yet have its effect
	for try := 0; try < 200 && ctx.Err() == nil; try++ {
		node := r.node(rng)
		op.Node = node.Name
		a, err := r.ask(ctx, client, node, method, op.Key, op.Value, header)
		switch {
		case err == nil && (a.code == 200 || a.code == 201 || a.code == 204):
			op.OK, op.Return = true, r.now()
			last[op.Key] = seen{op.Value, a.etag}
			r.add(op)
			return
		case err == nil && a.code == http.StatusPreconditionFailed, err == nil && a.code == http.StatusNotFound && op.Kind == "delete":
			op.OK, op.Return = false, r.now()
			delete(last, op.Key)
			r.add(op)
			return
		}
		again := err == nil && (a.code == http.StatusServiceUnavailable || a.code == http.StatusConflict)
		nothing := again && !strings.Contains(a.body, "outcome_unknown") && !strings.Contains(a.body, `"timeout"`) && !strings.Contains(a.body, "stopping")
		doubt = doubt || !nothing
		if !keyed {
			if doubt {
				r.add(op)
			} else {
				r.count(&r.refused)
			}
			return
		}
		if err == nil && !again {
			op.Value = fmt.Sprintf("unexpected answer %d", a.code)
			op.OK, op.Return = true, r.now()
			r.add(op)
			return
		}
		sleep(ctx, time.Duration(20+rng.IntN(80))*time.Millisecond)
	}
	r.add(op)
}
