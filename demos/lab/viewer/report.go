package viewer

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// Report is what a viewer saw, in milliseconds.
type Report struct {
	API      int       `json:"api"`
	Film     string    `json:"film"`
	Started  time.Time `json:"started"`
	Shown    float64   `json:"shown_ms"` // film
	Stalled  float64   `json:"stalled_ms"`
	Longest  float64   `json:"longest_stall_ms"`
	Lost     float64   `json:"lost_ms"` // film that never came
	Requests int       `json:"requests"`
	Failed   int       `json:"failed"`
	Slowest  float64   `json:"slowest_ms"` // of a request that succeeded
	Stalls   []Moment  `json:"stalls"`
	Failures []Moment  `json:"failures"`
	Sent     []Sent    `json:"sent,omitempty"`    // segments that came, if the player knows from whom
	Late     float64   `json:"late_ms,omitempty"` // for how long at most the machine did not let the viewer look, if it knows
}

// Sent says which node sent a segment, and when it was there.
type Sent struct {
	At      time.Time `json:"at"`
	Segment int       `json:"segment"` // from 0
	Node    string    `json:"node"`
}

// Moment is something that a viewer noticed.
type Moment struct {
	At   time.Time `json:"at"`
	MS   float64   `json:"ms"`
	Text string    `json:"text,omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill takes over what the playback knows.
func (r *Report) fill(p *Playback) {
	r.API = 1
	r.Shown, r.Stalled, r.Longest = ms(p.shown), ms(p.total), ms(p.worst)
	r.Stalls = []Moment{}
	for _, s := range p.stalls {
		r.Stalls = append(r.Stalls, Moment{At: r.Started.Add(s.At), MS: ms(s.For)})
	}
	if r.Failures == nil {
		r.Failures = []Moment{}
	}
}

func (r *Report) sent(at time.Time, segment int, node string) {
	if len(r.Sent) < maxSent {
		r.Sent = append(r.Sent, Sent{At: at, Segment: segment, Node: node})
	}
}

func (r *Report) failure(at time.Time, lost time.Duration, text string) {
	r.Failed++
	r.Lost += ms(lost)
	if len(r.Failures) < maxStalls {
		r.Failures = append(r.Failures, Moment{At: at, MS: ms(lost), Text: text})
	}
}

// why makes few words of an error.
func why(err error) string {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "time-out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed early"
	}
	return err.Error()
}
