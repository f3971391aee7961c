package ring

import "time"

// Entry is one op in the log. Its index is its place: token and log know it.
type Entry struct {
	From  Member
	N     uint64 // the proposer's counter; (From, N) is the op's id
	Rider RiderID
	Data  []byte
}

// ViewChange is the op of RiderViews.
type ViewChange struct {
	View View
	Wait time.Duration // what belonged to those left out is free so long after the first acceptance
	Cold bool          // made by a cold start
	// Cause tells people why: "crash n3"-like texts are made from Kind and Who.
	Kind CauseKind
	Who  []Member // who was left out or came
}

// CauseKind says why a view changed.
type CauseKind uint8

// Causes of a view change.
const (
	CauseFound  CauseKind = 1 // first view of a cluster
	CauseCold   CauseKind = 2 // cold start from disks
	CauseFailed CauseKind = 3 // suspects were left out
	CauseJoin   CauseKind = 4
	CauseLeave  CauseKind = 5
)

func (k CauseKind) String() string {
	switch k {
	case CauseFound:
		return "founded"
	case CauseCold:
		return "cold start"
	case CauseFailed:
		return "failed"
	case CauseJoin:
		return "joined"
	case CauseLeave:
		return "left"
	}
	return "unknown"
}

// Ack is what one member has told on the token, in this epoch only.
type Ack struct {
	Member Member
	Ack    uint64 // last index held
	Dur    uint64 // last index synced, with this epoch on disk
	Seen   uint64 // seq at its last accept or pass
}

// Suspect is a member that is skipped, because it is doubted or to be left out.
type Suspect struct {
	Member Member
	Seq    uint64 // the token's when it was doubted; 0: since this epoch was made
	By     Member // whom it did not answer; zero: nobody has failed to reach it yet
	Sure   bool   // to be left out
	SureAt uint64 // the token's seq when it became sure
}

// Row is a member's load row: a few bytes that its shell wants all to know.
type Row struct {
	Member Member
	Data   []byte
}

// Token is the one message that carries everything. Ops[0] has index Base+1.
type Token struct {
	Epoch    Epoch
	Seq      uint64
	Base     uint64
	Commit   uint64
	Stable   uint64
	Ring     []Member
	Suspects []Suspect
	Acks     []Ack
	Rows     []Row
	Ops      []Entry
}

// Stamp is the token's place in the order of tokens.
func (t *Token) Stamp() Stamp { return Stamp{t.Epoch, t.Seq} }

// Last is the index of the last op on the token.
func (t *Token) Last() uint64 { return t.Base + uint64(len(t.Ops)) }

// Bounds of what a message may hold. A parser refuses more, a machine never
// makes more.
const (
	MaxMembers   = 256
	MaxRow       = 512
	MaxOps       = 1 << 14
	MaxToken     = 256 << 10 // bytes of a token; view changes have room of their own above it
	MaxOp        = 64 << 10  // bytes of one op's data
	MaxMessage   = MaxToken + roomForViews
	maxSeekers   = 256
	roomForViews = 64 << 10
)
