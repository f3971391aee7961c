package link

import (
	"time"

	"rain/ring"
)

// Pace changes Config.Every and Config.DownAfter while the Monitor runs: a node
// with many paths pings each of them less often. Values that Config.Validate
// would refuse are raised to what it takes.
func (m *Monitor) Pace(every, downAfter time.Duration) {
	m.cfg.Every = max(every, time.Millisecond)
	m.cfg.DownAfter = max(downAfter, 2*m.cfg.Every)
	m.cfg.Calm = max(m.cfg.Calm, m.cfg.DownAfter)
	if m.no > 0 {
		m.pingAt = min(m.pingAt, m.sentAt[m.no%sentKept].Add(m.cfg.Every))
	}
}

// Restart gives this end a higher incarnation: its history starts anew, what it
// remembers stays. A lower or equal one changes nothing.
func (m *Monitor) Restart(now ring.Instant, inc ring.Incarnation) Effects {
	m.begin()
	if inc > m.inc {
		m.inc = inc
		m.renew(now)
		m.pingAt = now
	}
	return m.end()
}
