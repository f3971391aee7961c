package fabric

// LinkStatus tells of one cable or trunk.
type LinkStatus struct {
	Name string        `json:"name"`
	Ways [2]Impairment `json:"ways"` // from the first name to the second, and back
	Sent [2]Counts     `json:"sent"`
}

// SwitchStatus tells of one switch.
type SwitchStatus struct {
	Name string `json:"name"`
	Dead bool   `json:"dead"`
}

// Status tells of all switches and links, in the order they were added.
func (n *Net) Status() (switches []SwitchStatus, links []LinkStatus) {
	for _, s := range n.switches {
		switches = append(switches, SwitchStatus{s.name, s.dead})
	}
	for _, l := range n.links {
		links = append(links, LinkStatus{
			Name: l.name, Ways: [2]Impairment{l.ways[0].Impairment, l.ways[1].Impairment},
			Sent: [2]Counts{l.ways[0].Counts, l.ways[1].Counts},
		})
	}
	return switches, links
}
