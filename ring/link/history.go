package link

// MinSlack is the least slack with which an end that went Down can come Up
// again: it keeps one token in reserve, so that a later Down is never held up.
const MinSlack = 2

// History is one end's part of the consistent-history protocol. The tokens of
// the paper are counted, not sent: an end holds N - h + seen of them.
// The zero value is of no use; see NewHistory.
type History struct {
	slack uint64
	up    bool
	want  bool   // Restored was called and could not be reported yet
	h     uint64 // transitions that this end has reported
	seen  uint64 // transitions of the other end that this end knows of
}

// NewHistory starts a session: Down, nothing reported. A slack below MinSlack
// is taken as MinSlack.
func NewHistory(slack int) History {
	return History{slack: uint64(max(slack, MinSlack))}
}

// Up is the state that was reported last; Down before the first report.
func (h *History) Up() bool { return h.up }

// Count is how many transitions this end has reported: H for the next ping.
func (h *History) Count() uint64 { return h.h }

// Seen is how many transitions of the other end this end has followed.
func (h *History) Seen() uint64 { return h.seen }

func (h *History) tokens() uint64 { return h.slack - h.h + h.seen }

func (h *History) flip() {
	h.up = !h.up
	h.h++
}

// Lost says that the channel does not work as far as this end can tell. It
// returns whether this end reports Down.
func (h *History) Lost() bool {
	h.want = false
	if !h.up {
		return false
	}
	h.flip() // an end that is Up holds a token: Restored left one in reserve
	return true
}

// Restored says that this end has proof that both directions work. It returns
// whether this end reports Up; if it may not yet, it will when Follow lets it.
func (h *History) Restored() bool {
	if h.up {
		return false
	}
	if h.tokens() < MinSlack {
		h.want = true
		return false
	}
	h.want = false
	h.flip()
	return true
}

// Valid says whether an end of this session can have sent this count.
func (h *History) Valid(count uint64) bool {
	return count <= h.seen || count-h.seen <= 2*h.slack-h.tokens()
}

// Follow takes the other end's count of transitions and returns how many this
// end reports because of it: it follows the other end where it would else fall
// back by more than the slack. An old count changes nothing; one that is not
// Valid must not be given.
func (h *History) Follow(count uint64) (reports int) {
	for h.seen < count {
		if h.tokens() == h.slack {
			h.flip() // one token in, one out
			h.want = false
			reports++
		}
		h.seen++
		if h.want && h.Restored() {
			reports++
		}
	}
	return reports
}
