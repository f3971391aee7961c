package link_test

import (
	"fmt"

	"rain/ring/link"
)

// Two ends of a channel that fails and heals: both report the same transitions.
func ExampleHistory() {
	a, b := link.NewHistory(link.MinSlack), link.NewHistory(link.MinSlack)
	show := func(what string) { fmt.Println(what, a.Up(), a.Count(), b.Up(), b.Count()) }
	show("at first")
	a.Restored() // an echo came: bytes go both ways
	b.Follow(a.Count())
	a.Follow(b.Count())
	show("works")
	b.Lost() // only b has noticed that it is silent
	show("b noticed")
	a.Follow(b.Count()) // what b told arrives
	show("a was told")
	// Output:
	// at first false 0 false 0
	// works true 1 true 1
	// b noticed true 1 false 2
	// a was told false 2 false 2
}
