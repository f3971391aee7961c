package show

import (
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
)

// Sizes of the picture, in its own units.
const (
	left, right, row = 170, 30, 18
	width            = 1200
	head             = 60
	gap              = 26
	chart            = 70
)

var colours = map[Kind]string{Switch: "#8e44ad", Link: "#2874a6", Interface: "#117a65", Crash: "#b03a2e", Freeze: "#7f8c8d"}

// picture draws from top to bottom.
type picture struct {
	b     strings.Builder
	y     float64
	scale float64
}

func (p *picture) say(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }
func (p *picture) x(s float64) float64            { return left + s*p.scale }

func (p *picture) text(x, y float64, class, text string) {
	p.say(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, html.EscapeString(text))
}

func (p *picture) bar(from, to, high float64, colour, title string) {
	p.say(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s</title></rect>`,
		p.x(from), p.y+(row-high)/2, max(p.x(to)-p.x(from), 1), high, colour, html.EscapeString(title))
}

// SVG draws what was broken when, how many members the view had, and what each
// viewer saw.
func (s *Story) SVG(w io.Writer) error {
	p := &picture{y: head, scale: (width - left - right) / max(s.Seconds, 1)}
	p.members(s)
	p.faults(s)
	p.viewers(s)
	high := p.y + 40
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" font-family="sans-serif" font-size="11">`+"\n", width, high)
	out.WriteString("<style>.t{font-size:16px;font-weight:bold}.h{font-weight:bold}.r{text-anchor:end}.m{text-anchor:middle;fill:#555}.s{fill:#555}</style>\n")
	fmt.Fprintf(&out, `<rect width="%d" height="%.0f" fill="#fff"/>`+"\n", width, high)
	lost, stalled, _ := s.Lost()
	fmt.Fprintf(&out, `<text x="12" y="22" class="t">%s</text>`+"\n", html.EscapeString(fmt.Sprintf(
		"%s: %d faults in %.0f s; %.2f s of film lost, %.2f s stood still", s.Net, len(s.Faults), s.Seconds, lost, stalled)))
	step := 10.0
	for s.Seconds/step > 15 {
		step *= 2
	}
	for t := 0.0; t <= s.Seconds; t += step {
		fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%.1f" stroke="#e5e7e9"/>`+"\n", p.x(t), head-8, p.x(t), p.y)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" class="m">%d:%02d</text>`+"\n", p.x(t), head-14, int(t)/60, int(t)%60)
	}
	out.WriteString(p.b.String())
	at := float64(left)
	for _, k := range Kinds {
		fmt.Fprintf(&out, `<rect x="%.0f" y="%.0f" width="12" height="10" fill="%s"/><text x="%.0f" y="%.0f">%s</text>`+"\n", at, p.y+14, colours[k], at+16, p.y+23, k)
		at += 90
	}
	fmt.Fprintf(&out, `<rect x="%.0f" y="%.0f" width="12" height="10" fill="#1e8449"/><text x="%.0f" y="%.0f">film shown</text>`+"\n", at, p.y+14, at+16, p.y+23)
	fmt.Fprintf(&out, `<rect x="%.0f" y="%.0f" width="12" height="10" fill="#e74c3c"/><text x="%.0f" y="%.0f">stood still or failed</text>`+"\n", at+100, p.y+14, at+116, p.y+23)
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// members draws the size of the primary view as a line of steps.
func (p *picture) members(s *Story) {
	p.text(12, p.y+4, "h", "members of the view")
	most := 1
	for _, v := range s.Views {
		most = max(most, v.Members)
	}
	level := func(n int) float64 { return p.y + chart - float64(n)/float64(most)*chart }
	for _, n := range []int{0, s.Least, most} {
		p.say(`<line x1="%d" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ccd1d1" stroke-dasharray="3 3"/>`, left, level(n), p.x(s.Seconds), level(n))
		p.text(left-6, level(n)+4, "r s", fmt.Sprint(n))
	}
	var line strings.Builder
	for i, v := range s.Views {
		if i > 0 {
			fmt.Fprintf(&line, "%.1f,%.1f ", p.x(v.At), level(s.Views[i-1].Members))
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", p.x(v.At), level(v.Members))
	}
	p.say(`<polyline points="%s" fill="none" stroke="#1c2833" stroke-width="1.5"/>`, strings.TrimSpace(line.String()))
	p.y += chart + gap
}

// faults draws a row for each thing that was ever broken.
func (p *picture) faults(s *Story) {
	p.text(12, p.y, "h", "what was broken")
	p.y += 8
	var names []string
	first := map[string]int{}
	for _, f := range s.Faults {
		if _, ok := first[f.What]; !ok {
			first[f.What] = slices.Index(Kinds, f.Kind)
			names = append(names, f.What)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		if d := first[a] - first[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, n := range names {
		p.text(left-8, p.y+13, "r", n)
		for _, f := range s.Faults {
			if f.What == n {
				p.bar(f.From, f.To, 12, colours[f.Kind], fmt.Sprintf("%s %s, %.1f to %.1f s", f.Kind, f.What, f.From, f.To))
			}
		}
		p.y += row
	}
	p.y += gap
}

// viewers draws what each viewer saw.
func (p *picture) viewers(s *Story) {
	p.text(12, p.y, "h", "what was seen")
	p.y += 8
	for _, v := range s.Viewers {
		p.text(left-8, p.y+13, "r", v.Name)
		if v.Skipped != "" {
			p.text(left, p.y+13, "s", "skipped: "+v.Skipped)
		}
		for _, r := range v.Showings {
			from := r.Started.Sub(s.Started).Seconds()
			p.bar(from, min(from+(r.Shown+r.Stalled)/1000, s.Seconds), 8, "#1e8449", "film shown")
			for _, m := range append(slices.Clone(r.Stalls), r.Failures...) {
				at := m.At.Sub(s.Started).Seconds()
				p.bar(at, at+m.MS/1000, 16, "#e74c3c", fmt.Sprintf("%.0f ms at %.1f s %s", m.MS, at, m.Text))
			}
		}
		for _, m := range v.Failures {
			at := m.At.Sub(s.Started).Seconds()
			p.bar(at, at+m.MS/1000, 16, "#e74c3c", m.Text)
		}
		p.y += row
		p.senders(s, v)
	}
}

// senders draws who sent the segments: below the film a strip in the colour of
// the node, from the segment's arrival to the next one's.
func (p *picture) senders(s *Story, v Seen) {
	nodes := map[string]bool{}
	for _, r := range v.Showings {
		end := min(r.Started.Sub(s.Started).Seconds()+(r.Shown+r.Stalled)/1000, s.Seconds)
		for i, x := range r.Sent {
			from, to := x.At.Sub(s.Started).Seconds(), end
			if i+1 < len(r.Sent) {
				to = r.Sent[i+1].At.Sub(s.Started).Seconds()
			}
			nodes[x.Node] = true
			p.say(`<rect x="%.1f" y="%.1f" width="%.1f" height="5" fill="%s"><title>%s</title></rect>`, p.x(from), p.y-2,
				max(p.x(to)-p.x(from), 0.5), sender(x.Node), html.EscapeString(fmt.Sprintf("segment %d from %s at %.1f s", x.Segment, x.Node, from)))
		}
	}
	if len(nodes) == 0 {
		return
	}
	at := float64(left)
	for _, n := range slices.Sorted(maps.Keys(nodes)) {
		p.say(`<rect x="%.1f" y="%.1f" width="10" height="5" fill="%s"/>`, at, p.y+8, sender(n))
		p.text(at+13, p.y+13, "s", n)
		at += 50
	}
	p.text(left-8, p.y+13, "r s", "segments from")
	p.y += row + 4
}

// sender is a node's colour: by the number in its name, so that neighbours differ.
func sender(node string) string {
	n := 0
	for _, c := range node {
		if c >= '0' && c <= '9' {
			n = (10*n + int(c-'0')) % 3600
		}
	}
	return fmt.Sprintf("hsl(%d 65%% %d%%)", n*137%360, 40+15*(n%2))
}
