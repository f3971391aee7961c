package example_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/example"
)

// A replicated counter: two members add, all agree, in one order.
func Example_counter() {
	c := example.New(3, func() ring.Rider { return &example.Counter{} })
	for _, add := range []struct {
		node int
		d    int64
	}{{1, 5}, {2, 10}, {1, -3}} {
		sum, err := c.Node(add.node).Propose(example.Add(add.d))
		fmt.Println(int64(binary.BigEndian.Uint64(sum)), err)
	}
	// Output:
	// 5 <nil>
	// 15 <nil>
	// 12 <nil>
}

// A lock: its holder dies, another one gets it when the view is without the
// first, and acts when the first one's lease must be over.
func Example_lock() {
	locks := []*example.Lock{}
	c := example.New(3, func() ring.Rider {
		locks = append(locks, &example.Lock{})
		return locks[len(locks)-1]
	})
	first, _ := c.Node(1).Propose([]byte("lock"))
	second, _ := c.Node(2).Propose([]byte("lock"))
	c.Run(200 * time.Millisecond) // what was founded may have been another cluster a moment ago
	fmt.Printf("node 1 %s, node 2 %s; node 1 acts: %v\n", first, second, locks[0].Holds(c.Node(1)))
	c.Node(1).Crash()
	c.Run(100 * time.Millisecond)
	again, _ := c.Node(2).Propose([]byte("lock"))
	c.Run(200 * time.Millisecond)
	fmt.Printf("node 2 %s; it acts: %v\n", again, locks[1].Holds(c.Node(2)))
	// Output:
	// node 1 yes, node 2 no; node 1 acts: true
	// node 2 yes; it acts: true
}

// A leader is who holds a lock that everybody asks for: at most one acts at any
// moment, and some member does while there is a quorum.
func Example_leader() {
	locks := []*example.Lock{}
	c := example.New(3, func() ring.Rider {
		locks = append(locks, &example.Lock{})
		return locks[len(locks)-1]
	})
	elect := func(nodes ...int) {
		for _, i := range nodes {
			if _, err := c.Node(i).Propose([]byte("lock")); err != nil {
				fmt.Println(err)
			}
		}
		c.Run(200 * time.Millisecond)
		for _, i := range nodes {
			if locks[i-1].Holds(c.Node(i)) {
				fmt.Println("the leader is node", i)
			}
		}
	}
	elect(2, 1, 3)
	c.Node(2).Crash()
	c.Run(100 * time.Millisecond)
	elect(3, 1)
	// Output:
	// the leader is node 2
	// the leader is node 3
}

// Keys and values on the token.
func Example_map() {
	maps := []*example.Map{}
	c := example.New(3, func() ring.Rider {
		maps = append(maps, &example.Map{})
		return maps[len(maps)-1]
	})
	for i, op := range []string{`{"colour":"blue","size":"10"}`, `{"size":null}`, `not JSON`} {
		result, err := c.Node(i + 1).Propose([]byte(op))
		fmt.Println(string(result), err)
	}
	c.Run(100 * time.Millisecond) // the others apply it when the token comes by
	for _, m := range maps {
		var b bytes.Buffer
		fmt.Print(m.Snapshot(&b), " ", b.String())
	}
	// Output:
	// ok <nil>
	// ok <nil>
	// invalid character 'o' in literal null (expecting 'u') <nil>
	// <nil> {"colour":"blue"}
	// <nil> {"colour":"blue"}
	// <nil> {"colour":"blue"}
}

// A snapshot is the whole state, and Restore replaces all that was there.
func TestSnapshotRestore(t *testing.T) {
	for name, pair := range map[string][2]ring.Rider{
		"counter": {&example.Counter{}, &example.Counter{}},
		"lock":    {&example.Lock{}, &example.Lock{}},
		"map":     {&example.Map{}, &example.Map{}},
	} {
		op := map[string][]byte{"counter": example.Add(7), "lock": []byte("lock"), "map": []byte(`{"a":"b"}`)}[name]
		pair[0].Apply(1, ring.Member{ID: 1, Inc: 1}, op)
		var a, b bytes.Buffer
		if err := pair[0].Snapshot(&a); err != nil {
			t.Fatal(err)
		}
		want := a.String()
		if err := pair[1].Restore(&a); err != nil {
			t.Fatal(err)
		}
		if err := pair[1].Snapshot(&b); err != nil || b.String() != want {
			t.Errorf("%s: restored %q, want %q, %v", name, b.String(), want, err)
		}
	}
}
