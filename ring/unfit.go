package ring

// A granter that cannot get the maker's log would have all wait for it, and again
// with each new start: its bulk port is closed, perhaps. So it says that it goes its
// own way, and for a while the others start without it, if they are enough. The while
// grows: it may be wanted, and have had no luck.
const (
	maxUnfetched = 3
	maxUnfits    = 6
)

// coldUnfetched counts fetches of the maker's log that failed.
func (m *Machine) coldUnfetched() {
	c := &m.cold
	if m.state != cold || c.amMaker || c.adopted {
		return
	}
	if c.unfetched++; c.unfetched < maxUnfetched {
		return
	}
	m.send(c.maker, ColdDeny{Epoch: c.epoch, Promise: c.epoch + 1})
	m.seek.unfits = min(m.seek.unfits+1, maxUnfits)
	m.seek.unfit = m.now.Add(m.coldWait() << m.seek.unfits)
	m.coldGiveUp("the maker's log does not get here")
}
