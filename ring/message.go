package ring

import "time"

// Message is one of the messages that rings exchange. See wire.go for the bytes.
type Message interface{ kind() kind }

type kind uint8

const (
	kindToken     kind = 1
	kindCall      kind = 2
	kindGrant     kind = 3
	kindDeny      kind = 4
	kindOut       kind = 5
	kindRefused   kind = 6
	kindSeek      kind = 7
	kindWelcome   kind = 8
	kindColdCall  kind = 9
	kindColdGrant kind = 10
	kindColdDeny  kind = 11
	kindColdMade  kind = 12
	kindHurry     kind = 13
)

type (
	// Call is the 911: the sender wants to make a token of this epoch. With
	// Probe nothing is promised by an answer.
	Call struct {
		Epoch   Epoch
		Copy    Stamp  // of the caller's copy
		Settled uint64 // number of the caller's settled view
		Probe   bool
	}

	// Grant answers a Call: yes. Age: since the granter last had the token.
	// Silent: whom the granter's own last messages did not reach.
	Grant struct {
		Epoch  Epoch
		Probe  bool
		Age    time.Duration
		Silent []Member
	}

	// Deny answers a Call: no; here is why.
	Deny struct {
		Epoch    Epoch // the one asked for
		Promised Epoch
		Copy     Stamp
		Probe    bool
	}

	// Out tells a node that the settled view does not hold it any more, or that the
	// change that let it in is gone: the view is its own settled one then.
	Out struct{ View View }

	// Refused answers a Token that was not accepted.
	Refused struct {
		Token    Stamp // the one refused
		Promised Epoch
		Copy     Stamp
	}

	// Seek is sent by a node that is no member: it looks for a primary, and
	// shows its disk in case there is none. With a snapshot at hand
	// (Generation != 0) it is the join request.
	Seek struct {
		Generation uint32 // of the snapshot at hand; 0: none
		Index      uint64 // the snapshot's
		DiskEpoch  Epoch  // 0: empty disk
		DiskLast   uint64
		Promise    Epoch
		Founder    bool          // by its config
		Lease      time.Duration // must be the same on all nodes
	}

	// Welcome answers a Seek: the sender is in the primary view; a snapshot
	// may be fetched from it.
	Welcome struct {
		Copy Stamp
		View uint64
		// Lease is the cluster's; a seeker with another one is not let in.
		Lease time.Duration
		// Above, if not 0, tells the seeker to take a higher incarnation first.
		Above Incarnation
	}

	// ColdCall asks for a disk's vote. Epoch is (a new generation, 1).
	ColdCall struct {
		Epoch     Epoch
		DiskEpoch Epoch
		DiskLast  uint64
	}

	// ColdGrant gives it.
	ColdGrant struct{ Epoch Epoch }

	// ColdDeny does not, and says what stands in the way.
	ColdDeny struct {
		Epoch     Epoch // the one asked for
		Promise   Epoch
		DiskEpoch Epoch
		DiskLast  uint64
	}

	// ColdMade tells a granter that the cold view is made and its snapshot can
	// be fetched from the sender.
	ColdMade struct{ Epoch Epoch }

	// Hurry asks the holder to pass soon: the sender has ops to propose.
	Hurry struct{ Epoch Epoch }
)

func (*Token) kind() kind    { return kindToken }
func (Call) kind() kind      { return kindCall }
func (Grant) kind() kind     { return kindGrant }
func (Deny) kind() kind      { return kindDeny }
func (Out) kind() kind       { return kindOut }
func (Refused) kind() kind   { return kindRefused }
func (Seek) kind() kind      { return kindSeek }
func (Welcome) kind() kind   { return kindWelcome }
func (ColdCall) kind() kind  { return kindColdCall }
func (ColdGrant) kind() kind { return kindColdGrant }
func (ColdDeny) kind() kind  { return kindColdDeny }
func (ColdMade) kind() kind  { return kindColdMade }
func (Hurry) kind() kind     { return kindHurry }
