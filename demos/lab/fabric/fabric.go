package fabric

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Bounds of a net.
const (
	MaxPorts    = 256
	MaxSwitches = 64
)

// Delivery says that a port gets the frame at a time.
type Delivery struct {
	Port int
	At   time.Duration
}

// Net is the whole network. It is not safe for concurrent use.
type Net struct {
	switches []swtch
	names    map[string]int // of switches
	ports    []port
	links    []link
	linkName map[string]int
	owner    map[[6]byte]int // port that an address was last seen at
	deaf     map[[2]int]bool // a port that does not hear another: from, to
	rng      *rand.Rand
	trees    map[int][]hop // by root switch; dropped when anything changes
	out      []Delivery
}

type swtch struct {
	name  string
	dead  bool
	peers []int // links to other switches
	ports []int
}

type port struct {
	name string
	link int
	at   int // switch
}

// link is a cable (port >= 0) or a trunk between switches a and b.
type link struct {
	name string
	port int
	a, b int    // switches; a cable has its switch in b
	ways [2]way // 0: from the port or a; 1: from b
}

type hop struct {
	via    int // link that leads here from parent; -1 for the root and what is out of reach
	parent int
	reach  bool
}

// New makes an empty net; seed fixes all chance.
func New(seed uint64) *Net {
	return &Net{names: map[string]int{}, linkName: map[string]int{}, owner: map[[6]byte]int{}, deaf: map[[2]int]bool{}, rng: rand.New(rand.NewPCG(seed, 1)), trees: map[int][]hop{}}
}

// AddSwitch adds a switch.
func (n *Net) AddSwitch(name string) error {
	if _, ok := n.names[name]; ok || name == "" || strings.Contains(name, "-") {
		return fmt.Errorf("fabric: switch %q: the name is taken, empty or has a dash", name)
	}
	if len(n.switches) == MaxSwitches {
		return fmt.Errorf("fabric: more than %d switches", MaxSwitches)
	}
	n.names[name] = len(n.switches)
	n.switches = append(n.switches, swtch{name: name})
	return nil
}

// AddTrunk joins two switches.
func (n *Net) AddTrunk(a, b string) error {
	ia, oka := n.names[a]
	ib, okb := n.names[b]
	if !oka || !okb || ia == ib {
		return fmt.Errorf("fabric: trunk %s-%s: no such two switches", a, b)
	}
	at, err := n.addLink(link{name: a + "-" + b, port: -1, a: ia, b: ib})
	if err != nil {
		return err
	}
	n.switches[ia].peers = append(n.switches[ia].peers, at)
	n.switches[ib].peers = append(n.switches[ib].peers, at)
	clear(n.trees)
	return nil
}

// AddPort adds a port by a cable to a switch and returns its number. cable is
// the cable's name.
func (n *Net) AddPort(name, cable, to string) (int, error) {
	s, ok := n.names[to]
	if !ok {
		return 0, fmt.Errorf("fabric: port %s: no switch %q", name, to)
	}
	if len(n.ports) == MaxPorts {
		return 0, fmt.Errorf("fabric: more than %d ports", MaxPorts)
	}
	p := len(n.ports)
	at, err := n.addLink(link{name: cable, port: p, a: -1, b: s})
	if err != nil {
		return 0, err
	}
	n.ports = append(n.ports, port{name: name, link: at, at: s})
	n.switches[s].ports = append(n.switches[s].ports, p)
	return p, nil
}

func (n *Net) addLink(l link) (int, error) {
	if _, ok := n.linkName[l.name]; ok || l.name == "" {
		return 0, fmt.Errorf("fabric: cable %q is there already, or has no name", l.name)
	}
	n.linkName[l.name] = len(n.links)
	n.links = append(n.links, l)
	return len(n.links) - 1, nil
}

// Switch kills or revives a switch.
func (n *Net) Switch(name string, dead bool) error {
	s, ok := n.names[name]
	if !ok {
		return fmt.Errorf("fabric: no switch %q; there are %s", name, strings.Join(n.Switches(), ", "))
	}
	n.switches[s].dead = dead
	clear(n.trees)
	return nil
}

// Change edits a cable or trunk by its name, either way round. With oneWay only
// the direction from the first to the second name is changed.
func (n *Net) Change(name string, oneWay bool, edit func(*Impairment)) error {
	return n.change(name, oneWay, func(w *way) { edit(&w.Impairment) })
}

// Mend makes a cable or trunk as it was at the last Sound.
func (n *Net) Mend(name string, oneWay bool) error {
	return n.change(name, oneWay, func(w *way) { w.Impairment = w.sound })
}

// Sound says that all cables and trunks are now as they should be: so Heal and
// Mend leave them.
func (n *Net) Sound() {
	for i := range n.links {
		for j := range n.links[i].ways {
			n.links[i].ways[j].sound = n.links[i].ways[j].Impairment
		}
	}
}

func (n *Net) change(name string, oneWay bool, edit func(*way)) error {
	at, first, ok := n.find(name)
	if !ok {
		return fmt.Errorf("fabric: no cable %q; there are %s", name, strings.Join(n.Links(), ", "))
	}
	for i := range 2 {
		if w := &n.links[at].ways[i]; i == first || !oneWay {
			edit(w)
		}
	}
	clear(n.trees)
	return nil
}

// find returns the link and the direction that goes from the first name.
func (n *Net) find(name string) (at, first int, ok bool) {
	if at, ok = n.linkName[name]; ok {
		return at, 0, true
	}
	a, b, _ := strings.Cut(name, "-")
	at, ok = n.linkName[b+"-"+a]
	return at, 1, ok
}

// Deafen has port to hear nothing of what port from sends, or lets it hear again,
// whatever way there is: a filter that somebody set wrongly.
func (n *Net) Deafen(from, to int, on bool) {
	if on {
		n.deaf[[2]int{from, to}] = true
	} else {
		delete(n.deaf, [2]int{from, to})
	}
}

// Heal undoes every impairment and revives every switch.
func (n *Net) Heal() {
	clear(n.deaf)
	for i := range n.links {
		for j := range n.links[i].ways {
			n.links[i].ways[j].Impairment = n.links[i].ways[j].sound
		}
	}
	for i := range n.switches {
		n.switches[i].dead = false
	}
	clear(n.trees)
}

// Switches lists the names of the switches.
func (n *Net) Switches() []string {
	var out []string
	for _, s := range n.switches {
		out = append(out, s.name)
	}
	return out
}

// Links lists the names of cables and trunks.
func (n *Net) Links() []string {
	var out []string
	for _, l := range n.links {
		out = append(out, l.name)
	}
	return out
}

// Carrier says whether a port's plug would show a signal: its cable is whole in
// both directions and its switch lives.
func (n *Net) Carrier(p int) bool {
	l := &n.links[n.ports[p].link]
	return !l.ways[0].Cut && !l.ways[1].Cut && !n.switches[l.b].dead
}

// Send takes a frame from a port. The result is valid until the next call.
func (n *Net) Send(now time.Duration, from int, frame []byte) []Delivery {
	n.out = n.out[:0]
	if from < 0 || from >= len(n.ports) || len(frame) < 14 {
		return nil
	}
	src, dst := [6]byte(frame[6:12]), [6]byte(frame[:6])
	if src[0]&1 == 0 {
		n.owner[src] = from
	}
	at, l := n.ports[from].at, &n.links[n.ports[from].link]
	times, copies := l.ways[0].carry(now, len(frame), expedited(frame), n.rng.Float64)
	if n.switches[at].dead {
		return nil
	}
	tree := n.tree(at)
	to, known := n.owner[dst]
	for _, t := range times[:copies] {
		if known && dst[0]&1 == 0 {
			n.unicast(t, tree, at, to, from, len(frame))
		} else {
			n.flood(t, tree, at, from, len(frame))
		}
	}
	return n.out
}

func (n *Net) unicast(t time.Duration, tree []hop, root, to, from, size int) {
	if to == from || n.deaf[[2]int{from, to}] {
		return
	}
	s := n.ports[to].at
	if !tree[s].reach {
		return
	}
	var path []int
	for x := s; x != root; x = tree[x].parent {
		path = append(path, x)
	}
	times := []time.Duration{t}
	for _, x := range slices.Backward(path) {
		times = n.over(times, tree[x].via, x, size)
	}
	n.deliver(times, to, size)
}

// over sends over a trunk towards switch x.
func (n *Net) over(times []time.Duration, via, x, size int) (out []time.Duration) {
	l := &n.links[via]
	dir := 0
	if l.a == x {
		dir = 1
	}
	for _, t := range times {
		at, c := l.ways[dir].carry(t, size, false, n.rng.Float64)
		out = append(out, at[:c]...)
	}
	return out
}

func (n *Net) deliver(times []time.Duration, p, size int) {
	l := &n.links[n.ports[p].link]
	for _, t := range times {
		at, c := l.ways[1].carry(t, size, false, n.rng.Float64)
		for _, x := range at[:c] {
			n.out = append(n.out, Delivery{p, x})
		}
	}
}

func (n *Net) flood(t time.Duration, tree []hop, root, from, size int) {
	reached := make([][]time.Duration, len(n.switches))
	reached[root] = []time.Duration{t}
	for todo := []int{root}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		for _, p := range n.switches[s].ports {
			if p != from && !n.deaf[[2]int{from, p}] {
				n.deliver(reached[s], p, size)
			}
		}
		for x, h := range tree {
			if h.reach && x != root && h.parent == s {
				if reached[x] = n.over(reached[s], h.via, x, size); len(reached[x]) > 0 {
					todo = append(todo, x)
				}
			}
		}
	}
}

// tree is the way with the fewest trunks from root to each switch. A trunk that
// is cut in one direction carries the other.
func (n *Net) tree(root int) []hop {
	if t, ok := n.trees[root]; ok {
		return t
	}
	t := make([]hop, len(n.switches))
	for i := range t {
		t[i].via = -1
	}
	t[root].reach = true
	for todo := []int{root}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		for _, li := range n.switches[s].peers {
			l := &n.links[li]
			x, dir := l.b, 0
			if l.b == s {
				x, dir = l.a, 1
			}
			if t[x].reach || n.switches[x].dead || l.ways[dir].Cut {
				continue
			}
			t[x] = hop{via: li, parent: s, reach: true}
			todo = append(todo, x)
		}
	}
	n.trees[root] = t
	return t
}
