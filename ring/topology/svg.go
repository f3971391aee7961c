package topology

import (
	"fmt"
	"math"
	"strings"
)

// SVG draws the net: switches on a ring, nodes around them, and what failed
// in red. It is a whole file.
func (n *Net) SVG(m Model, faults []Element) (string, error) {
	loss, err := n.Loss(m, faults)
	if err != nil {
		return "", err
	}
	d := drawing{net: n, dead: map[string]bool{}, size: 240 + 14*float64(max(len(n.Links), 2*n.Switches))}
	for _, e := range faults {
		d.dead[e.String()] = true
	}
	d.head(m, faults, loss)
	for _, e := range n.Elements(RingLink, NodeLink) {
		d.line(e)
	}
	for _, e := range n.Elements(Switch, Node) {
		d.dot(e)
	}
	d.b.WriteString("</svg>\n")
	return d.b.String(), nil
}

type drawing struct {
	net  *Net
	dead map[string]bool
	size float64
	b    strings.Builder
}

func (d *drawing) head(m Model, faults []Element, loss int) {
	names := make([]string, len(faults))
	for i, e := range faults {
		names[i] = e.String()
	}
	title := fmt.Sprintf("%s, %d nodes on %d switches, %s: %d faults cost %d nodes", d.net.Kind, len(d.net.Links), d.net.Switches, m, len(faults), loss)
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="11" role="img">
<title>%s</title>
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="16" y="26" font-size="15" fill="#1b2733">%s</text>
<text x="16" y="46" fill="#b3261e">%s</text>
`, d.size, d.size+40, title, title, strings.Join(names, "  "))
}

// at is the place of a switch or a node. Nodes stand outside, beside the first
// of their switches, one behind the other if several share it.
func (d *drawing) at(part Part, i int) (x, y float64) {
	s := float64(d.net.Switches)
	r, turn := d.size*0.22, float64(i)/s
	if part == Node {
		rounds := (len(d.net.Links) + d.net.Switches - 1) / d.net.Switches
		round := i / d.net.Switches
		r = d.size * 0.4
		turn = (float64(i%d.net.Switches) + (float64(round)+0.5)/float64(rounds) - 0.25) / s
	}
	a := 2*math.Pi*turn - math.Pi/2
	return d.size/2 + r*math.Cos(a), d.size/2 + 40 + r*math.Sin(a)
}

func (d *drawing) line(e Element) {
	from := Node
	if e.Part == RingLink {
		from = Switch
	}
	x1, y1 := d.at(from, e.A)
	x2, y2 := d.at(Switch, e.B)
	style := `stroke="#8fa3b5" stroke-width="1.2"`
	if e.Part == RingLink {
		style = `stroke="#35536b" stroke-width="3"`
	}
	if d.dead[e.String()] {
		style = `stroke="#b3261e" stroke-width="2" stroke-dasharray="3 4"`
	}
	fmt.Fprintf(&d.b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style)
}

func (d *drawing) dot(e Element) {
	x, y := d.at(e.Part, e.A)
	fill, ink := "#35536b", "#fff"
	if e.Part == Node {
		fill = "#2e7d5b"
	}
	if d.dead[e.String()] {
		fill = "#b3261e"
	}
	if e.Part == Switch {
		fmt.Fprintf(&d.b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"28\" height=\"20\" rx=\"3\" fill=\"%s\"/>\n", x-14, y-10, fill)
	} else {
		fmt.Fprintf(&d.b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"12\" fill=\"%s\"/>\n", x, y, fill)
	}
	fmt.Fprintf(&d.b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"%s\">%s</text>\n", x, y+4, ink, e)
}
