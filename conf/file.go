// Package conf reads the node file: the TOML that an operator writes for one
// node of snow or rainvideo.
//
// It is strict. A key it does not know, a value of a wrong type or out of
// range, and a missing key are faults; all of them are reported at once, each
// as "file:line: key: what is wrong; what is allowed". Nothing is clamped or
// guessed. Relative paths are relative to the file's folder. Text is UTF-8,
// at most 1 MiB.
//
// Guarantee: a File that Load returns without an error has every field in
// its documented range, names that differ where they must, and a readable
// key. Limit: Load says nothing about the other nodes' files, nor whether an
// address exists on this host; that shows when the node starts.
//
// Reference is the commented file with all defaults; a test compares it with
// Default. The samples beside this file are loaded by a test, too.
package conf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"rain/ring"
)

// MaxFile bounds the size of a node file.
const MaxFile = 1 << 20

// File is one node's configuration. The zero value is of no use: start from
// Default, Parse or Load.
type File struct {
	Path     string   `toml:"-"` // as given to Load
	Warnings Problems `toml:"-"` // what works and should still be mended

	Node    Node    `toml:"node"`
	Cluster Cluster `toml:"cluster"`
	Links   []Link  `toml:"link"`
	Peers   []Peer  `toml:"peer"`
	Log     Log     `toml:"log"`
	Web     Web     `toml:"web"`
	Admin   Admin   `toml:"admin"`
	Store   Store   `toml:"store"`
	Fault   Fault   `toml:"fault"`
	VIP     VIP     `toml:"vip"`
}

// Node says who this node is and where it keeps its data.
type Node struct {
	Name string      `toml:"name,required"` // 1 to 63 of a-z, 0-9 and -; unique in the cluster
	ID   ring.NodeID `toml:"id,required"`   // C.C.H.H; never reused for another host

	// Data is the folder of the node's own: the ring's record, objects,
	// snapshots. Made if missing. Default "data".
	Data string `toml:"data,path"`

	// DrainTimeout is how long a stopping node hands over and finishes
	// requests before it leaves without waiting. Default 10s, 0 to 10m.
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// Cluster is what all nodes of a cluster have in common. Preset, Detection
// and Policy are proposed by the founders' files and live on the token from
// then on; Name, KeyFile and Founders stay local to the file.
type Cluster struct {
	Name string `toml:"name,required"` // 1 to 63 of a-z, 0-9 and -

	// KeyFile holds the 32 bytes, in base64, that prove membership. Whoever
	// reads it can join: mode 0600. Made by "rainctl key new FILE". While the key
	// is being changed it has two lines; the node writes it then.
	KeyFile string `toml:"key_file,required,path"`

	// Preset are the ring's times: lan (default; a lease of 100 ms), fast
	// (40 ms), laptop (180 ms, one noisy machine), wan (from measurement).
	Preset string `toml:"preset" allow:"lan|fast|wan|laptop"`

	// Detection is conservative (default: who does not answer one node is passed
	// over and asked by the others, and left out when a second cannot reach it) or
	// aggressive (who does not answer one node within the send timeout is left out
	// at once, and joins again).
	Detection string `toml:"detection" allow:"conservative|aggressive"`

	// Policy says who may act when the cluster splits: dynamic (default: a majority
	// of the view, or the half with its distinguished member), witness (or the half
	// that the witness named), any (and who has neither still answers and reads).
	Policy string `toml:"policy" allow:"dynamic|witness|any"`

	// Witness is where the witness listens (TCP), with policy witness: see
	// "snow witness --help". Run it on a box that is no node.
	Witness string `toml:"witness"` // IP:PORT; default "": none

	// Relay has this node carry messages between two others that do not reach
	// each other, and use others likewise: over one hop, sealed end to end, so
	// that a failure between two nodes leaves nobody out. Default true.
	Relay bool `toml:"relay"`

	// Founders are the nodes that make the cluster's first token, once a
	// majority of them meets. Equal in every node's file; 1 to 64 ids.
	Founders []ring.NodeID `toml:"founders,required"`

	Key     Secret   `toml:"-"` // 32 bytes, read from KeyFile by Load
	OldKeys []Secret `toml:"-"` // its further lines, while the key is being changed
}

// Link is one network interface that the ring uses: UDP for the token, TCP on
// the same port for bulk.
type Link struct {
	Name   string         `toml:"name,required"`
	Listen netip.AddrPort `toml:"listen,required"` // an address of this host, not a wildcard
}

// Peer is another node that this one can call on.
type Peer struct {
	ID    ring.NodeID      `toml:"id,required"`
	Name  string           `toml:"name,required"`
	Links []netip.AddrPort `toml:"links,required"` // its [[link]] addresses in their order, 1 to 8
}

// Log says what goes to stderr, and how.
type Log struct {
	Level  string `toml:"level" allow:"debug|info|warn|error"` // default info
	Format string `toml:"format" allow:"text|json"`            // default text
}

// Web is the sites' HTTP on the node's own addresses and on the VIPs.
type Web struct {
	Listen     []netip.AddrPort `toml:"listen"`      // default 127.0.0.1:8080; at most 16
	VIPPort    int              `toml:"vip_port"`    // TCP port on every VIP; default 8080
	NodeHeader bool             `toml:"node_header"` // answers name the node in X-Rain-Node; default false
	Guestbook  bool             `toml:"guestbook"`   // anyone may write into /guestbook, on every host; default false
	Queue      bool             `toml:"queue"`       // requests that take long are known to all nodes; default true

	// AccessLog is a file that gets a line for each request, "-" for standard
	// output, "" (default) for none. HUP opens it anew, for rotation.
	AccessLog    string `toml:"access_log"`
	AccessFormat string `toml:"access_format" allow:"combined|json"` // default combined
}

// Admin is the address that rainctl and monitoring talk to.
type Admin struct {
	Listen netip.AddrPort `toml:"listen"` // default 127.0.0.1:8081

	// TokenFile holds the bearer token, 16 to 512 printable characters, mode
	// 0600. Whoever reads it can do all that rainctl can. "rainctl key new FILE"
	// makes a good one.
	TokenFile string `toml:"token_file,required,path"`

	MetricsPublic bool   `toml:"metrics_public"` // /metrics without token; default false
	Token         Secret `toml:"-"`              // read from TokenFile by Load
}

// Store says how objects are kept on this node's disk.
type Store struct {
	ReserveBytes int64         `toml:"reserve_bytes"` // kept free for the node itself; default 1 GiB
	RebuildAfter time.Duration `toml:"rebuild_after"` // a lost node's symbols go to spares then; default 1h
	Code         Code          `toml:"code"`          // default auto
}

// Fault lets "rainctl fault" break this node on purpose.
type Fault struct {
	Allow bool `toml:"allow"` // default false
}

// VIP says how this node takes the virtual addresses, and which there are.
type VIP struct {
	Driver string `toml:"driver" allow:"loopback|linux|none"` // default none
	Pools  []Pool `toml:"pool"`                               // equal in every node's file, apart from Interface
}

// Pool is a group of virtual addresses on one network.
type Pool struct {
	Name      string         `toml:"name,required"`
	Interface string         `toml:"interface"`          // needed by driver linux
	Addresses []netip.Prefix `toml:"addresses,required"` // address and length of its net; 1 to 256
}

// Code is an erasure code: an object is kept in N parts, any K give it back.
// The zero value chooses by the number of nodes ("auto").
type Code struct{ N, K int }

// WitnessAddr is where the witness listens; not valid: there is none.
func (c Cluster) WitnessAddr() netip.AddrPort {
	a, err := parseAddrPort(c.Witness)
	if err != nil {
		return netip.AddrPort{} // the file was checked: it is empty
	}
	return a
}

func (c Code) String() string {
	if c == (Code{}) {
		return "auto"
	}
	return fmt.Sprintf("%d,%d", c.N, c.K)
}

// Default is the file's meaning before its first line. The required fields
// are empty in it.
func Default() *File {
	return &File{
		Node:    Node{Data: "data", DrainTimeout: 10 * time.Second},
		Cluster: Cluster{Preset: "lan", Detection: "conservative", Policy: "dynamic", Relay: true},
		Log:     Log{Level: "info", Format: "text"},
		Web: Web{
			Listen:  []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")},
			VIPPort: 8080, AccessFormat: "combined", Queue: true,
		},
		Admin: Admin{Listen: netip.MustParseAddrPort("127.0.0.1:8081")},
		Store: Store{ReserveBytes: 1 << 30, RebuildAfter: time.Hour},
		VIP:   VIP{Driver: "none"},
	}
}

// Load reads the file and the secrets that it names. Its error is Problems
// when the fault is in the files' content or in what they name.
func Load(path string) (*File, error) {
	text, err := readLimited(path, MaxFile)
	if err != nil {
		return nil, Problems{{File: path, Line: 1, What: err.Error(), Allowed: "a readable TOML file; see the output of 'snow config'"}}
	}
	f, b := decode(path, text)
	if f == nil {
		return nil, b.faults
	}
	b.secrets(f)
	if len(b.faults) > 0 {
		return nil, b.sorted()
	}
	return f, nil
}

// Parse reads a node file from memory and opens nothing: Key and Token stay
// nil. path is for messages and for relative paths.
func Parse(path string, text []byte) (*File, error) {
	f, b := decode(path, text)
	if len(b.faults) > 0 {
		return nil, b.sorted()
	}
	return f, nil
}

// readLimited reads a regular file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d allowed", path, st.Size(), limit)
	}
	return os.ReadFile(path)
}

// under resolves a path of the file against the file's folder.
func under(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
