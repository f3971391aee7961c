package viewer

import "time"

// maxStalls bounds how many stalls are told one by one.
const maxStalls = 1000

// maxSent bounds how many segments are told one by one.
const maxSent = 10_000

// Stall is a time in which the film stood still.
type Stall struct {
	At  time.Duration // since the playback was made
	For time.Duration
}

// Playback is a film that is being watched. Times are since its making and must
// not go back. The zero value waits for its first film.
type Playback struct {
	began  bool
	ends   time.Duration // when all that came will have been shown
	shown  time.Duration // film that came
	stalls []Stall
	total  time.Duration // of all stalls
	worst  time.Duration
}

// Arrived says that so much more film is there.
func (p *Playback) Arrived(now, film time.Duration) {
	switch {
	case !p.began:
		p.began, p.ends = true, now
	case now > p.ends:
		s := Stall{At: p.ends, For: now - p.ends}
		p.total += s.For
		p.worst = max(p.worst, s.For)
		if len(p.stalls) < maxStalls {
			p.stalls = append(p.stalls, s)
		}
		p.ends = now
	}
	p.ends += film
	p.shown += film
}

// Ahead is how much film is there that has not been shown.
func (p *Playback) Ahead(now time.Duration) time.Duration {
	if !p.began {
		return 0
	}
	return max(p.ends-now, 0)
}

// Ended closes a stall that is going on when the viewer gives up.
func (p *Playback) Ended(now time.Duration) {
	if p.began && now > p.ends {
		p.Arrived(now, 0)
	}
}
