//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// registerModel is one key: its state is its value, "" for no object.
var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, _, output any) (bool, any) { return stepRegister(state.(string), output.(registerOp)) },
}

// stepRegister says whether the register may answer so, and what it holds then.
func stepRegister(state string, op registerOp) (bool, string) {
	unknown := op.Return < 0
	switch op.Kind {
	case "read":
		return op.Value == state, state
	case "write":
		return true, op.Value
	case "cas":
		holds := state == op.Expect
		switch {
		case unknown && holds:
			return true, op.Value
		case unknown:
			return true, state
		case op.OK:
			return holds, op.Value
		}
		return !holds, state
	case "delete":
		switch {
		case unknown:
			return true, ""
		case op.OK:
			return state != "", ""
		}
		return state == "", state
	}
	return false, state
}

// check keeps the history and judges it, key by key.
func (r *registerTrial) check(o options) error {
	dir := filepath.Join(o.out, fmt.Sprintf("register-seed-%d", o.seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for i := range r.keys {
		key := fmt.Sprintf("k%d", i)
		var ops []porcupine.Operation
		var file bytes.Buffer
		enc := json.NewEncoder(&file)
		slices.SortFunc(r.history, func(a, b registerOp) int { return int(a.Call - b.Call) })
		for _, op := range r.history {
			if op.Key != key {
				continue
			}
			if err := enc.Encode(op); err != nil {
				return err
			}
			end := op.Return
			if end < 0 {
				end = math.MaxInt64
			}
			ops = append(ops, porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Output: op, Return: end})
		}
		if err := os.WriteFile(filepath.Join(dir, key+".jsonl"), file.Bytes(), 0o644); err != nil {
			return err
		}
		res := porcupine.CheckOperationsTimeout(registerModel, ops, time.Minute)
		fmt.Printf("register: %s: %d operations: %s\n", key, len(ops), res)
		if res != porcupine.Ok {
			errs = append(errs, fmt.Errorf("the history of %s is not linearizable, or too hard to judge: %s", key, res))
		}
	}
	fmt.Printf("register: histories are in %s\n", dir)
	return errors.Join(errs...)
}

// faults crashes, freezes and cuts nodes off, one at a time.
func (r *registerTrial) faults(ctx context.Context, o options) (string, error) {
	rng := rand.New(rand.NewPCG(o.seed, 4))
	count := map[string]int{}
	for range o.kills {
		node := r.node(rng)
		kind := []string{"crash", "freeze", "cut"}[rng.IntN(3)]
		count[kind]++
		away, back := func() error { return r.c.control(node.Name, kind) }, "start"
		if kind == "freeze" {
			back = "thaw"
		}
		undo := func() error { return r.c.control(node.Name, back) }
		if kind == "cut" {
			away = func() error { return r.cut(ctx, node, "cut") }
			undo = func() error { return r.cut(ctx, node, "heal") }
		}
		if err := away(); err != nil {
			return "", err
		}
		sleep(ctx, time.Duration(50+rng.IntN(1200))*time.Millisecond)
		if err := undo(); err != nil {
			return "", err
		}
		if !sleep(ctx, time.Duration(200+rng.IntN(1500))*time.Millisecond) {
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d crashes, %d freezes, %d cuts", count["crash"], count["freeze"], count["cut"]), nil
}

// cut cuts a node off from all others, or heals it; clients still reach it.
func (r *registerTrial) cut(ctx context.Context, node demoNode, verb string) error {
	for _, other := range r.c.file.Nodes {
		if other.Name == node.Name {
			continue
		}
		body := fmt.Sprintf(`{"peer":%q}`, other.Name)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, node.Admin+"/api/v1/fault/"+verb, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+r.c.file.Token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			// A node that is still coming back from the fault before this one.
			if verb == "cut" {
				return nil
			}
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("fault %s %s %s: %s", verb, node.Name, other.Name, resp.Status)
		}
	}
	return nil
}
