package admin

import "time"

// Status is what a node knows of itself and the cluster. Programs outside rely
// on the names.
type Status struct {
	API       int       `json:"api"`
	Node      string    `json:"node"`
	Cluster   string    `json:"cluster"`
	Health    string    `json:"health"` // ok, degraded, critical
	Sentence  string    `json:"sentence"`
	Ring      Ring      `json:"ring"`
	Members   []Member  `json:"members"`
	Links     []Link    `json:"links"`
	VIPs      []VIP     `json:"vips"`
	Queue     Queue     `json:"queue"`
	Streams   []Stream  `json:"streams"`
	Store     Store     `json:"store"`
	Tolerance Tolerance `json:"tolerance"`
	Warnings  []Warning `json:"warnings"`
	// Faults are the links that this node was told to make bad.
	Faults []LinkFault `json:"faults"`
}

// LinkFault is what happens on purpose to the datagrams, and with a cut to the
// connections, between this node and a peer over one of its links.
type LinkFault struct {
	Peer        string  `json:"peer"`
	Link        string  `json:"link"` // this node's name of it
	CutIn       bool    `json:"cut_in"`
	CutOut      bool    `json:"cut_out"`
	DropPercent float64 `json:"drop_percent"`
	DelayMS     float64 `json:"delay_ms"`
}

// Ring is the state of this node's ring.
type Ring struct {
	State  string `json:"state"`  // member, joining, isolated
	Reason string `json:"reason"` // why it does not act; empty in the primary component
	Alone  bool   `json:"alone"`  // by policy any it goes on with its addresses, without a quorum
	// Version is what all members speak, MaxVersion what this node could.
	Version    int    `json:"version"`
	MaxVersion int    `json:"max_version"`
	Settled    bool   `json:"settled"` // the newest view is on a quorum of its disks
	Members    int    `json:"members"` // of the newest view
	Primary    bool   `json:"primary"`
	Epoch      uint64 `json:"epoch"`
	View       uint64 `json:"view"`
	Seq        uint64 `json:"seq"`
	// Distinguished is the member whose half counts when exactly half is left.
	Distinguished string  `json:"distinguished"`
	QuorumNeed    int     `json:"quorum_need"`
	LeaseLeftMS   int64   `json:"lease_left_ms"`
	RotationsPS   float64 `json:"rotations_per_s"`
	HopP50US      int64   `json:"hop_p50_us"`
	HopP99US      int64   `json:"hop_p99_us"`
	Regeneration  uint64  `json:"regenerations"`
}

// Member is one node, as the answering node sees it.
type Member struct {
	Name        string    `json:"name"`
	ID          string    `json:"id"`
	Incarnation uint64    `json:"incarnation"`
	State       string    `json:"state"` // up, draining, down
	Since       time.Time `json:"since"`
	ViewSince   uint64    `json:"view_since"`      // number of the view it came with; the longest in decides when halves are equal
	Admin       string    `json:"admin,omitempty"` // URL of its admin address, if known
}

// Link is the path between one interface of a and one of b.
type Link struct {
	A           string    `json:"a"`
	B           string    `json:"b"`
	Link        string    `json:"link"`
	State       string    `json:"state"` // up, down
	RTTUS       int64     `json:"rtt_us"`
	Loss        float64   `json:"loss"` // 0 to 1
	Transitions uint64    `json:"transitions"`
	Since       time.Time `json:"since"`
}

// VIP is a virtual address and who holds it. Holder is empty if nobody does.
type VIP struct {
	Addr   string    `json:"addr"`
	Pool   string    `json:"pool"`
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	Moves  uint64    `json:"moves"`
	Cause  string    `json:"cause"`
	GapMS  int64     `json:"gap_ms"`
}

// Queue is the request queue that rides on the token.
type Queue struct {
	Length   int          `json:"length"`
	Claimed  uint64       `json:"claimed"`
	Orphaned uint64       `json:"orphaned"`
	Replayed uint64       `json:"replayed"`
	Entries  []QueueEntry `json:"entries"`
}

// QueueEntry is one request on the queue.
type QueueEntry struct {
	ID     string    `json:"id"`
	Client string    `json:"client"`
	Method string    `json:"method"`
	Host   string    `json:"host"`
	Path   string    `json:"path"`
	Node   string    `json:"node"`
	Offset int64     `json:"offset"`
	State  string    `json:"state"` // running, claimed, done, orphaned
	Since  time.Time `json:"since"`
}

// Stream is one film being watched.
type Stream struct {
	Session   string    `json:"session"`
	Film      string    `json:"film"`
	Rendition string    `json:"rendition"` // hls, mp4, play (part by part)
	Client    string    `json:"client"`    // address, without port
	Node      string    `json:"node"`      // who sends it
	PositionS float64   `json:"position_s"`
	SentBytes int64     `json:"sent_bytes"` // by all nodes
	BitsPerS  int64     `json:"bits_per_s"` // of the last 5 to 10 s
	Moves     int       `json:"moves"`      // how often another node went on with it
	Seeks     int       `json:"seeks"`      // how often the viewer went back
	Since     time.Time `json:"since"`
}

// Store sums up the distributed store.
type Store struct {
	Objects        int   `json:"objects"`
	StoredBytes    int64 `json:"stored_bytes"`
	MissingSymbols int   `json:"missing_symbols"`
	// RepairLeft is what this node still has to write: missing symbols, and those
	// that it takes over from nodes that left or stay away.
	RepairLeft int64  `json:"repair_left_bytes"`
	RepairETAS int64  `json:"repair_eta_s"`
	Disk       string `json:"disk"` // ok, reserve, full, failed
}

// Tolerance counts the nodes that may die at once. Data is for the weakest
// object, nil without objects. Any one of SafeToLose may die now.
type Tolerance struct {
	Ring       int      `json:"ring"`
	Data       *int     `json:"data"`
	SafeToLose []string `json:"safe_to_lose"`
}

// Warning asks for the operator's eye.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Event is something that changed. IDs rise from 1 in one life of a node.
type Event struct {
	ID    uint64    `json:"id"`
	Time  time.Time `json:"time"`
	Node  string    `json:"node"` // who it is about
	Kind  string    `json:"kind"` // view, vip, link, ...
	Text  string    `json:"text"`
	Why   string    `json:"why,omitempty"`
	GapMS int64     `json:"gap_ms,omitempty"`
}

// Events is the answer of GET /api/v1/events. Last is the id to ask after next.
type Events struct {
	API    int     `json:"api"`
	Node   string  `json:"node"`
	Last   uint64  `json:"last"`
	Events []Event `json:"events"`
}

// fill makes lists of nil slices, so that readers find [] and not null.
func (s *Status) fill() {
	s.API = API
	notNil(&s.Members)
	notNil(&s.Links)
	notNil(&s.VIPs)
	notNil(&s.Queue.Entries)
	notNil(&s.Streams)
	notNil(&s.Tolerance.SafeToLose)
	notNil(&s.Warnings)
	notNil(&s.Faults)
}

func notNil[T any](s *[]T) {
	if *s == nil {
		*s = []T{}
	}
}
