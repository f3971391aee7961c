//go:build linux

package main

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

func judge(ops ...registerOp) bool {
	list := make([]porcupine.Operation, 0, len(ops))
	for i, op := range ops {
		end := op.Return
		if end < 0 {
			end = 1 << 62
		}
		list = append(list, porcupine.Operation{ClientId: i, Input: op, Call: op.Call, Output: op, Return: end})
	}
	return porcupine.CheckOperations(registerModel, list)
}

// The trial's judge must see what it is there for.
func TestRegisterModel(t *testing.T) {
	write := registerOp{Kind: "write", Value: "a", OK: true, Call: 1, Return: 10}
	read := func(value string, call, end int64) registerOp {
		return registerOp{Kind: "read", Value: value, OK: true, Call: call, Return: end}
	}
	cas := func(expect, value string, ok bool, call, end int64) registerOp {
		return registerOp{Kind: "cas", Expect: expect, Value: value, OK: ok, Call: call, Return: end}
	}
	for _, c := range []struct {
		name string
		ops  []registerOp
		want bool
	}{
		{"either during a write", []registerOp{write, read("", 2, 3), read("a", 4, 5)}, true},
		{"new, then old", []registerOp{write, read("a", 2, 3), read("", 4, 5)}, false},
		{"old after the write", []registerOp{write, read("", 11, 12)}, false},
		{"an unknown write may come late", []registerOp{{Kind: "write", Value: "a", Call: 1, Return: -1}, read("", 5, 6), read("a", 7, 8)}, true},
		{"but not go again", []registerOp{{Kind: "write", Value: "a", Call: 1, Return: -1}, read("a", 5, 6), read("", 7, 8)}, false},
		{"one of two that compare", []registerOp{write, cas("a", "b", true, 11, 20), cas("a", "c", true, 11, 20)}, false},
		{"the other is refused", []registerOp{write, cas("a", "b", true, 11, 20), cas("a", "c", false, 11, 20), read("b", 21, 22)}, true},
		{"a lost update", []registerOp{write, cas("a", "b", true, 11, 12), read("a", 13, 14)}, false},
	} {
		if got := judge(c.ops...); got != c.want {
			t.Errorf("%s: linearizable %t, want %t", c.name, got, c.want)
		}
	}
}
