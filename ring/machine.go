package ring

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// ErrOutcomeUnknown says that a proposer was removed or restarted while its op
// was on the way: the op may yet be committed. Look before you try again.
var ErrOutcomeUnknown = errors.New("ring: this node was removed from the ring while the op was on its way; its outcome is unknown: look before you try again")

// ErrNotPrimary says that this node is in no primary component: nothing was
// proposed, nothing will happen.
var ErrNotPrimary = errors.New("ring: this node is not in the primary component (no quorum in reach); nothing was changed, try again later or on another node")

// ErrOpTooLarge says that an op's data is larger than MaxOp.
var ErrOpTooLarge = errors.New("ring: op larger than the token carries; send the data by the bulk path and propose its hash")

type state uint8

const (
	seeking state = iota // no member: looks for a primary, or for a quorum of disks
	cold                 // takes part in a cold start that is not whole yet
	member
	left
)

func (s state) String() string { return [...]string{"seeking", "cold", "member", "left"}[s] }

// Machine is one life of one node in the ring: see the package comment.
type Machine struct {
	cfg   Config
	t     Timing
	rng   *rand.Rand
	me    Member
	state state
	now   Instant
	eff   *Effects // of the step under way; nil between steps
	room  Effects  // where eff points: a step makes no garbage of its own
	refs  uint64

	log       opLog
	views     []IndexedView // ascending; at least the last settled one and all after it
	viewOps   uint64        // view changes appended by this member
	firstAt   map[uint64]Instant
	freeAt    Instant // of all view changes delivered
	delivered uint64
	commit    uint64 // never falls
	arrived   uint64 // commit of the token as it came or leaves
	stable    uint64 // never falls

	copy       *Token // as last accepted, passed or made; nil before
	copyStamp  Stamp
	promised   Epoch
	promisedTo Member
	heardEpoch Epoch // highest of my generation heard of
	lastAt     Instant

	holding   bool
	news      bool // the last accept changed something: pass it on soon
	hurried   bool
	holdUntil Instant
	busyUntil Instant
	restless  uint64 // Seq of the last token that came with unsettled ops
	sent      sentToken
	passed    Stamp // of the last pass, and when
	passedAt  Instant
	sentLate  time.Duration // lateSum then
	lease     Instant
	lastLease Instant // when a lease was last confirmed

	failed    map[Member]failure
	heardAt   map[Member]Instant
	alive     map[Member]life
	convinced map[Member]bool // whom two failed to reach; see convict
	asked     map[uint64]question
	askedAt   map[Member]Instant
	suspicion map[Member]Stamp // mine, and sure; heard begins anew with each
	heard     map[Member]Stamp // last sign of life of a suspect, likewise
	joiners   map[NodeID]joiner
	row       []byte

	starveAt  Instant
	stretched bool // for lateness of mine, once
	// behindUntil is for how long I leave it to another to ask for the token, whose
	// newer copy denied mine. Else each who asks would have all with a newer copy
	// than its own ask once more, and so on.
	behindUntil Instant
	rotation    time.Duration
	wakeAt      Instant       // what the last step asked for
	lateSum     time.Duration // by which steps were late, all together
	lateness    time.Duration // of late
	call        call
	isolated    bool

	pending []*proposal
	leaving bool
	made    making // last

	saving   []saveNote
	durEpoch Epoch
	durIndex uint64
	saved    saveState

	seek    seekState
	cold    coldState
	witness witnessState
	tries   int // cold starts in vain, since this node was last a member

	others int // nodes named by the config, without me
}

type sentToken struct {
	ref   uint64
	to    Member
	stamp Stamp
	last  bool // I am out once it is delivered
}

// New makes a machine. Its first event must be Start.
func New(cfg Config) *Machine {
	m := &Machine{
		cfg: cfg, t: cfg.Timing, me: cfg.Me,
		rng:       rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Me.ID)<<32^uint64(cfg.Me.Inc))),
		firstAt:   map[uint64]Instant{},
		suspicion: map[Member]Stamp{},
		heard:     map[Member]Stamp{},
		joiners:   map[NodeID]joiner{},
		tries:     cfg.Tries,
		failed:    map[Member]failure{},
		heardAt:   map[Member]Instant{},
		alive:     map[Member]life{},
		convinced: map[Member]bool{},
		asked:     map[uint64]question{},
		askedAt:   map[Member]Instant{},
	}
	m.seek.seekers = map[NodeID]seeker{}
	m.others = len(m.seekIDs())
	return m
}

// Step advances the machine by one event. Equal state and equal events give
// equal effects on every machine; a now below an earlier one counts as that.
func (m *Machine) Step(now Instant, ev Event) Effects {
	if now > m.now {
		m.now = now
	}
	m.eff = &m.room
	m.noteLate()
	if m.state != left {
		m.event(ev)
		m.timers()
	}
	if m.eff.Restart || m.eff.Left {
		m.end()
	}
	eff := m.room
	m.room, m.eff = Effects{}, nil
	if m.state != left {
		eff.Lease = m.lease
		eff.Wake = m.wake()
		m.wakeAt = eff.Wake
	}
	return eff
}

func (m *Machine) event(ev Event) {
	switch ev := ev.(type) {
	case Start:
		m.start()
	case Received:
		m.receive(ev.From, ev.Msg)
	case SendDone:
		m.sendDone(ev)
	case Timer:
	case Propose:
		m.propose(ev)
	case Saved:
		m.onSaved(ev.Ref)
	case SaveFailed:
	case Fetched:
		m.fetched(ev)
	case Leave:
		m.leave()
	case SetDetection:
		m.cfg.Aggressive = ev.Aggressive
	case WitnessSaid:
		m.witnessSaid(ev)
	case Bootstrap:
		m.bootstrap()
	case SetRow:
		if len(ev.Data) <= MaxRow {
			m.row = slices.Clone(ev.Data)
		}
	default:
		panic(fmt.Sprintf("ring: unknown event %T", ev)) // a bug here, not a fault out there
	}
}

func (m *Machine) receive(from Member, msg Message) {
	if from.ID == m.me.ID {
		return // a reflection or a stolen id; the transport warns of it
	}
	m.noteHeard(from)
	switch msg := msg.(type) {
	case *Token:
		m.onToken(from, msg)
	case Call:
		m.onCall(from, msg)
	case Grant:
		m.onGrant(from, msg)
	case Deny:
		m.onDeny(from, msg)
	case Out:
		m.onOut(from, msg)
	case Refused:
		m.onRefused(from, msg)
	case Seek:
		m.onSeek(from, msg)
	case Welcome:
		m.onWelcome(from, msg)
	case ColdCall:
		m.onColdCall(from, msg)
	case ColdGrant:
		m.onColdGrant(from, msg)
	case ColdDeny:
		m.onColdDeny(from, msg)
	case ColdMade:
		m.onColdMade(from, msg)
	case Hurry:
		m.onHurry()
	default:
		panic(fmt.Sprintf("ring: unknown message %T", msg))
	}
}

// timers does all that is due.
func (m *Machine) timers() {
	if m.over() {
		return
	}
	switch m.state {
	case member:
		if m.holding && m.now >= m.holdUntil {
			m.pass()
		}
		m.callTimers()
		m.isolationTimer()
	case seeking:
		m.seekTimers()
	case cold:
		m.coldTimers()
	}
}

// over reports whether this step has ended the machine's life.
func (m *Machine) over() bool { return m.eff.Restart || m.eff.Left || m.state == left }

func (m *Machine) wake() Instant {
	var at Instant
	earliest := func(t Instant) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	switch m.state {
	case member:
		if m.holding {
			earliest(m.holdUntil)
		} else if !m.call.active {
			earliest(m.starvesAt())
		}
		if m.call.active {
			earliest(m.call.deadline)
			earliest(m.call.graceAt)
			earliest(m.call.widenAt)
		}
		if !m.isolated {
			earliest(m.isolatedAt())
		}
		earliest(m.restartAt())
	case seeking:
		earliest(m.seek.next)
	case cold:
		earliest(m.cold.deadline)
		earliest(m.seek.next)
	}
	return at
}

// end gives up everything; proposals that may be on their way are of unknown
// outcome.
func (m *Machine) end() {
	m.state, m.holding, m.lease = left, false, 0
	for _, p := range m.pending {
		err := ErrNotPrimary
		if p.placed {
			err = ErrOutcomeUnknown
		}
		m.resolve(p, 0, err)
	}
	m.pending = nil
}

// restart ends this life; a new one begins from the disk.
func (m *Machine) restart(why string) {
	m.trace(Trace{Kind: TraceRejoin, Text: why})
	m.eff.Restart, m.eff.Tries = true, m.tries
	m.holding, m.lease = false, 0
}

func (m *Machine) trace(t Trace) { m.eff.Trace = append(m.eff.Trace, t) }

func (m *Machine) send(to Member, msg Message) {
	m.eff.Send = append(m.eff.Send, Envelope{To: to, Msg: msg})
}

func (m *Machine) sendRef(to Member, msg Message) uint64 {
	m.refs++
	m.eff.Send = append(m.eff.Send, Envelope{To: to, Msg: msg, Ref: m.refs})
	return m.refs
}

func (m *Machine) resolve(p *proposal, index uint64, err error) {
	m.eff.Resolved = append(m.eff.Resolved, Resolution{N: p.n, Index: index, Err: err})
}

// force returns the views in force of my copy.
func (m *Machine) force() []IndexedView { return inForce(m.views, m.tokStable()) }

func (m *Machine) tokStable() uint64 {
	if m.copy == nil {
		return m.stable
	}
	return m.copy.Stable
}

// settled is the last settled view of my copy, zero if there is none.
func (m *Machine) settled() IndexedView {
	f := m.force()
	if len(f) == 2 || len(f) == 1 && f[0].Index <= m.tokStable() {
		return f[0]
	}
	return IndexedView{}
}

func (m *Machine) newest() IndexedView {
	if len(m.views) == 0 {
		return IndexedView{}
	}
	return m.views[len(m.views)-1]
}

// viewPending reports whether a view change waits to be settled.
func (m *Machine) viewPending() bool { return m.newest().Index > m.tokStable() }
