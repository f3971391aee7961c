package fabric

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// ring makes switches s1..sn in a ring and one host on each, n1..nn.
func ring(t *testing.T, n int) *Net {
	t.Helper()
	net := New(1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		must(net.AddSwitch(fmt.Sprintf("s%d", i+1)))
	}
	for i := range n {
		must(net.AddTrunk(fmt.Sprintf("s%d", i+1), fmt.Sprintf("s%d", (i+1)%n+1)))
		_, err := net.AddPort(fmt.Sprintf("n%d.0", i+1), fmt.Sprintf("n%d-s%d", i+1, i+1), fmt.Sprintf("s%d", i+1))
		must(err)
	}
	return net
}

func mac(p int) [6]byte { return [6]byte{2, 0, 0, 0, 0, byte(p)} }

func frame(from, to int, size int) []byte {
	f := make([]byte, size)
	d := [6]byte{255, 255, 255, 255, 255, 255}
	if to >= 0 {
		d = mac(to)
	}
	s := mac(from)
	copy(f, d[:])
	copy(f[6:], s[:])
	return f
}

func got(d []Delivery) (ports []int) {
	for _, x := range d {
		ports = append(ports, x.Port)
	}
	slices.Sort(ports)
	return ports
}

// What is still on its way to a cable does not hold up what is there before it.
func TestNobodyWaitsForLater(t *testing.T) {
	n := ring(t, 3)
	for i := range 3 {
		n.Send(0, i, frame(i, -1, 60))
		cable := fmt.Sprintf("n%d-s%d", i+1, i+1)
		if err := n.Change(cable, false, func(m *Impairment) { m.Rate = 1_000_000 }); err != nil {
			t.Fatal(err)
		}
	}
	var last time.Duration
	for range 50 { // they leave their host one after the other
		for _, d := range n.Send(time.Second, 0, frame(0, 1, 1000)) {
			last = d.At
		}
	}
	if want := time.Second + 51*time.Millisecond; last != want {
		t.Fatalf("the last of 50 frames came at %v, want %v", last, want)
	}
	d := n.Send(time.Second, 2, frame(2, 1, 500))
	if len(d) != 1 || d[0].At != time.Second+1*time.Millisecond {
		t.Fatalf("a frame of another host: %v; want it 1 ms later, before the first of the 50", d)
	}
	if d := n.Send(time.Second, 2, frame(2, 1, 1000)); len(d) != 1 || d[0].At <= last {
		t.Fatalf("a frame for which there is no gap: %v, the last of the others at %v", d, last)
	}
}

func TestFloodOnceThenUnicast(t *testing.T) {
	n := ring(t, 5)
	if p := got(n.Send(0, 0, frame(0, -1, 60))); !slices.Equal(p, []int{1, 2, 3, 4}) {
		t.Fatalf("broadcast went to %v", p)
	}
	if p := got(n.Send(0, 3, frame(3, 0, 60))); !slices.Equal(p, []int{0}) {
		t.Fatalf("unicast to a known address went to %v", p)
	}
	if p := got(n.Send(0, 3, frame(3, 2, 60))); !slices.Equal(p, []int{0, 1, 2, 4}) {
		t.Fatalf("unicast to an unknown address went to %v", p)
	}
}

func TestCutsAndDetours(t *testing.T) {
	n := ring(t, 4)
	n.Send(0, 1, frame(1, -1, 60))
	cut := func(name string, oneWay, on bool) {
		t.Helper()
		if err := n.Change(name, oneWay, func(i *Impairment) { i.Cut = on }); err != nil {
			t.Fatal(err)
		}
	}
	reach := func(want bool, why string) {
		t.Helper()
		if p := got(n.Send(0, 0, frame(0, 1, 60))); (len(p) == 1) != want {
			t.Fatalf("%s: went to %v", why, p)
		}
	}
	cut("s1-s2", false, true)
	reach(true, "the other way round the ring")
	cut("s4-s3", false, true) // the name turned round
	reach(false, "ring cut twice")
	cut("s1-s2", true, false)
	reach(true, "one direction mended")
	if p := got(n.Send(0, 1, frame(1, 0, 60))); len(p) != 0 {
		t.Fatalf("the direction that is cut carried to %v", p)
	}
	n.Heal()
	if err := n.Switch("s2", true); err != nil {
		t.Fatal(err)
	}
	reach(false, "its switch is dead")
	if n.Carrier(1) || !n.Carrier(0) {
		t.Fatal("carrier does not tell of the dead switch")
	}
	n.Heal()
	cut("n2-s2", true, true)
	reach(true, "what n2 sends is cut, not what it gets")
	if n.Carrier(1) {
		t.Fatal("carrier on a cable that is cut one way")
	}
}

func TestRateDelayLossDouble(t *testing.T) {
	n := ring(t, 3)
	n.Send(0, 1, frame(1, -1, 60))
	edit := func(f func(*Impairment)) {
		t.Helper()
		if err := n.Change("n1-s1", true, f); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(i *Impairment) { i.Rate, i.Delay, i.Queue = 1_000_000, time.Millisecond, 5000 })
	var last time.Duration
	sent := 0
	for range 20 {
		for _, d := range n.Send(0, 0, frame(0, 1, 1000)) {
			sent++
			last = d.At
		}
	}
	// 5,000 bytes may wait behind the one that is being sent.
	if sent != 6 || last != 7*time.Millisecond {
		t.Fatalf("%d frames passed, the last after %v", sent, last)
	}
	// What asks to go first does not wait, where it leaves its host.
	n.Send(time.Second, 0, frame(0, 1, 1000))
	for name, f := range map[string]func(b []byte){
		"IPv4": func(b []byte) { b[12], b[13], b[15] = 8, 0, 46<<2 },
		"IPv6": func(b []byte) { b[12], b[13], b[14], b[15] = 0x86, 0xdd, 0x6b, 0x80 },
	} {
		urgent := frame(0, 1, 1000)
		f(urgent)
		if d := n.Send(time.Second, 0, urgent); len(d) != 1 || d[0].At > time.Second+3*time.Millisecond {
			t.Fatalf("%s: an urgent frame: %v", name, d)
		}
	}
	if d := n.Send(time.Second, 0, frame(0, 1, 1000)); len(d) != 1 || d[0].At != time.Second+5*time.Millisecond {
		t.Fatalf("a frame behind urgent ones: %v", d)
	}
	edit(func(i *Impairment) { *i = Impairment{MTU: 1280} })
	for size, want := range map[int]int{1294: 1, 1295: 0} {
		if d := n.Send(time.Second, 0, frame(0, 1, size)); len(d) != want {
			t.Fatalf("MTU 1280: a frame of %d bytes came %d times", size, len(d))
		}
	}
	edit(func(i *Impairment) { *i = Impairment{Loss: 0.5, Double: 0.5} })
	sent = 0
	for range 10_000 {
		sent += len(n.Send(time.Second, 0, frame(0, 1, 60)))
	}
	if sent < 7_000 || sent > 8_000 {
		t.Fatalf("%d of 10,000 with half lost and half of the rest doubled", sent)
	}
	_, links := n.Status()
	for _, l := range links {
		if l.Name == "n1-s1" && (l.Sent[0].Frames+l.Sent[0].Dropped != 10_026 || l.Sent[1].Frames == 0) {
			t.Fatalf("counts: %+v", l)
		}
	}
}

func TestRefusals(t *testing.T) {
	n := ring(t, 3)
	for name, err := range map[string]error{
		"switch twice": n.AddSwitch("s1"),
		"trunk twice":  n.AddTrunk("s1", "s2"),
		"to nowhere":   n.AddTrunk("s1", "s9"),
		"cable":        n.Change("n1-s3", false, func(*Impairment) {}),
		"dead switch":  n.Switch("s9", true),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if d := n.Send(0, 99, frame(0, 1, 60)); d != nil {
		t.Error("a frame from a port that is not there")
	}
	if d := n.Send(0, 0, []byte{1}); d != nil {
		t.Error("a frame without an address")
	}
}

// A port that is deaf to another one hears nothing of it, by no way, and all
// others do; it is heard itself.
func TestDeaf(t *testing.T) {
	n := ring(t, 4)
	// Both places are learned first, or a frame to an unknown one goes everywhere.
	n.Send(0, 0, frame(0, -1, 60))
	n.Send(0, 1, frame(1, -1, 60))
	n.Deafen(0, 1, true)
	for what, c := range map[string]struct {
		from, to int
		want     []int
	}{
		"unicast": {0, 1, nil}, "broadcast": {0, -1, []int{2, 3}}, "back": {1, 0, []int{0}},
	} {
		if p := got(n.Send(0, c.from, frame(c.from, c.to, 60))); !slices.Equal(p, c.want) {
			t.Errorf("%s went to %v, want %v", what, p, c.want)
		}
	}
	n.Deafen(0, 1, false)
	if p := got(n.Send(0, 0, frame(0, 1, 60))); len(p) != 1 {
		t.Errorf("mended, and it went to %v", p)
	}
}

// What is healed is as it was when it was called sound.
func TestHealKeepsTheRate(t *testing.T) {
	n := ring(t, 2)
	if err := n.Change("n1-s1", false, func(i *Impairment) { i.Rate = 5 }); err != nil {
		t.Fatal(err)
	}
	n.Sound()
	broken := Impairment{Cut: true, Rate: 1}
	for _, heal := range []func() error{func() error { n.Heal(); return nil }, func() error { return n.Mend("n1-s1", false) }} {
		if err := n.Change("n1-s1", false, func(i *Impairment) { *i = broken }); err != nil {
			t.Fatal(err)
		}
		if err := heal(); err != nil {
			t.Fatal(err)
		}
		for _, l := range func() []LinkStatus { _, l := n.Status(); return l }() {
			want := Impairment{}
			if l.Name == "n1-s1" {
				want.Rate = 5
			}
			if l.Ways[0] != want || l.Ways[1] != want {
				t.Errorf("%s is healed to %+v", l.Name, l.Ways)
			}
		}
	}
}
