package ring

import "time"

// Event is something that happened to a Machine. The shell steps events one at
// a time, in the order in which they happened.
type Event interface{ event() }

type (
	// Start is the first event of a machine.
	Start struct{}

	// Received is a message from an authenticated sender. From is who sealed
	// it (id and incarnation), not what the message claims.
	Received struct {
		From Member
		Msg  Message
	}

	// SendDone is the transport's verdict on an Envelope with Ref != 0. OK:
	// the peer's transport acknowledged it. Not OK: every link was tried in
	// vain; the message may have arrived all the same.
	SendDone struct {
		Ref uint64
		OK  bool
	}

	// Timer says that the Wake instant has come. Early or late calls are fine.
	Timer struct{}

	// Propose asks for an op. N is the shell's own number for it, unique in
	// this process; the answer is a Resolution with the same N.
	Propose struct {
		N       uint64
		Rider   RiderID
		Data    []byte
		Durable bool // resolve only at stable: a quorum has it on disk
		All     bool // resolve only when every member of the view has applied it
	}

	// Saved says that the Save with this Ref is on disk, synced.
	Saved struct{ Ref uint64 }

	// SaveFailed says that the Save with this Ref is not on disk. The shell
	// tries again by itself; this only informs.
	SaveFailed struct{ Ref uint64 }

	// Fetched answers Effects.Fetch. Err: it failed; else Header describes the
	// snapshot that the shell keeps at hand until Effects.Adopt or a newer
	// Fetch.
	Fetched struct {
		From   Member
		Err    bool
		Header SnapshotHeader
	}

	// Leave asks the machine to leave the ring for good (planned stop).
	Leave struct{}

	// SetDetection changes how much it takes to leave a member out; see
	// Config.Aggressive.
	SetDetection struct{ Aggressive bool }

	// SetRow replaces this member's load row on the token (at most MaxRow
	// bytes; what it says is the shell's business).
	SetRow struct{ Data []byte }
)

func (Start) event()      {}
func (Received) event()   {}
func (SendDone) event()   {}
func (Timer) event()      {}
func (Propose) event()    {}
func (Saved) event()      {}
func (SaveFailed) event() {}
func (Fetched) event()    {}
func (Leave) event()      {}
func (SetRow) event()     {}

func (SetDetection) event() {}

// Effects are what the shell must do, in the order of the fields.
type Effects struct {
	// Adopt: restore all riders from the snapshot that was fetched last.
	Adopt bool
	// Deliver: ops and view changes, committed, in index order.
	Deliver []Delivery
	// Save goes to disk in the background, in order; then Step(Saved{Ref}).
	Save *Save
	// Send: messages for other nodes. Order between two to one peer matters.
	Send []Envelope
	// Resolved answers proposals, after the Deliver that they rest on.
	Resolved []Resolution
	// Fetch, if not nil: get a snapshot from this member by the bulk path,
	// then Step(Fetched). A newer Fetch replaces an older one.
	Fetch *Member
	// Ask the witness, if not nil, then Step(WitnessSaid), if it answers.
	Ask *WitnessAsk
	// Left: the machine has left the ring; stop it.
	Left bool
	// Restart: this machine is at its end. The shell drops it and what it has
	// not yet written, and starts a new one from its disk with an incarnation
	// above this one and above AboveInc. All proposals have been resolved.
	Restart  bool
	AboveInc Incarnation
	Tries    int // with Restart: for the next Config
	// Trace: what happened and why, for logs, events and golden files.
	Trace []Trace
	// Lease is until when this member may act alone; 0: it may not. Always set.
	Lease Instant
	// Wake: Step(Timer) then; 0: no timer. Always set.
	Wake Instant
}

// Envelope is a message on its way. To.Inc 0 means whichever incarnation of
// that id the transport knows (used to find others before a view is known).
type Envelope struct {
	To  Member
	Msg Message
	Ref uint64 // 0: no verdict wanted
}

// Delivery is one committed entry of the log.
type Delivery struct {
	Index uint64
	From  Member
	Rider RiderID
	N     uint64 // the proposer's number, see Propose; only meaningful if From is this member
	Data  []byte // an op, if Rider != RiderViews
	// For RiderViews:
	View   View
	Cause  string // why the view changed, for people
	FreeAt Instant
}

// Resolution answers a Propose. Err is nil, ErrOutcomeUnknown or ErrNotPrimary.
type Resolution struct {
	N     uint64
	Index uint64
	Err   error
}

// Save is a change to the disk record. The shell applies it in one atomic
// step: if Replace, the whole old record (log and riders' snapshot) is replaced
// by the snapshot fetched last plus Entries; else entries at From and above are
// cut and Entries appended there.
type Save struct {
	Ref     uint64
	Replace bool
	// Promise alone: only the cold promise changes, nothing else is to be touched.
	PromiseOnly bool
	Promise     Epoch // cold promise
	Stamp       Stamp
	Stable      uint64
	From        uint64 // index of Entries[0]; also cuts when Entries is empty
	Entries     []Entry
	Header      *SnapshotHeader // with Replace: what the snapshot holds
}

// Disk is what a machine finds at its start: the record, or an empty one.
type Disk struct {
	Promise Epoch
	Stamp   Stamp // zero: no record
	Stable  uint64
	Header  SnapshotHeader // of the riders' snapshot under the log; zero Index: none
	Entries []Entry        // Entries[0] has index Header.Index+1
}

// SnapshotHeader says where in the log a snapshot of all riders stands and what
// a machine needs to go on from there.
type SnapshotHeader struct {
	Stamp Stamp         // of the giver's copy: becomes the taker's copy and promise
	Index uint64        // riders have applied the log up to here
	Views []IndexedView // the last one or two view changes at or below Index, ascending
	// Stable of the giver, at most Index. Views above it are not settled.
	Stable uint64
}

// IndexedView is a view and the index of the op that made it.
type IndexedView struct {
	Index uint64
	Cold  bool // made by a cold start: a quorum of it is all of it until settled
	View  View
}

// Timing are the cluster-wide times of the ring.
type Timing struct {
	IdleRotation  time.Duration // a trip of the token when nothing is to be done
	BusyRotation  time.Duration // the shortest trip under work
	SendTimeout   time.Duration // after it the transport reports a send as failed
	StarveTimeout time.Duration // without the token for so long: ask
	Lease         time.Duration // how long a confirmed rotation lets a member act
	ColdAfter     time.Duration // isolation after which a member restarts its ring to let disks vote
}
