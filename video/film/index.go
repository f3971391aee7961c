package film

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"
)

// Format is the version of Index that this package writes and reads.
const Format = 1

// MinSegment is the least length of a segment but the last.
const MinSegment = 2 * time.Second

// maxIndex bounds the JSON of an index: MaxDuration in segments of MinSegment.
const maxIndex = 4 << 20

// Index is what is known of a film without reading it: facts, and the plan by
// which it is cut. It is made once, when the film comes in, so that all nodes
// cut alike, whatever their version of this package.
type Index struct {
	Format     int        `json:"format"`
	SHA256     string     `json:"sha256"` // hex, of the whole file
	Size       int64      `json:"size_bytes"`
	DurationMS int64      `json:"duration_ms"`
	Video      VideoFacts `json:"video"`
	Audio      *AudioFact `json:"audio,omitempty"`
	Average    int64      `json:"average_bits"` // a second
	Peak       int64      `json:"peak_bits"`    // a second, of the segment with the most
	Lead       int64      `json:"lead_s"`
	Cuts       []int      `json:"cuts"`   // the first picture of each segment, from 0
	Starts     []int64    `json:"starts"` // when each segment begins, in ticks of the video; one more: the end
}

// VideoFacts are facts of the picture.
type VideoFacts struct {
	Codec     string  `json:"codec"`
	Width     int     `json:"width"` // as shown
	Height    int     `json:"height"`
	FrameRate float64 `json:"frame_rate"`
	Frames    int     `json:"frames"`
	KeyFrames int     `json:"key_frames"`
	Timescale uint32  `json:"timescale"`
}

// AudioFact are facts of the sound.
type AudioFact struct {
	Codec    string `json:"codec"`
	Rate     int    `json:"rate"`
	Channels int    `json:"channels"`
}

// NewIndex plans the cuts of a film.
func NewIndex(m *Movie, sha256 string) (*Index, error) {
	v := m.Video
	x := &Index{
		Format: Format, SHA256: sha256, Size: m.Size, DurationMS: m.Duration().Milliseconds(), Lead: m.lead,
		Video: VideoFacts{Codec: v.Codec, Width: v.Width, Height: v.Height, Frames: len(v.samples), Timescale: v.Timescale},
	}
	if v.turn.quarter() {
		x.Video.Width, x.Video.Height = v.Height, v.Width
	}
	if m.Audio != nil {
		x.Audio = &AudioFact{Codec: m.Audio.Codec, Rate: m.Audio.Rate, Channels: m.Audio.Channels}
	}
	least := int64(MinSegment/time.Second) * int64(v.Timescale)
	for i := range v.samples {
		if !v.samples[i].sync {
			continue
		}
		x.Video.KeyFrames++
		if p := v.pts(i); len(x.Cuts) == 0 || p-x.Starts[len(x.Starts)-1] >= least {
			x.Cuts, x.Starts = append(x.Cuts, i), append(x.Starts, p)
		}
	}
	end := v.end()
	shown := float64(end-v.pts(0)) / float64(v.Timescale)
	if m.Audio != nil {
		end = max(end, int64(math.Ceil(m.Audio.seconds(m.Audio.end())*float64(v.Timescale))))
	}
	x.Starts = append(x.Starts, end)
	if shown > 0 {
		x.Video.FrameRate = math.Round(float64(len(v.samples))/shown*1000) / 1000
	}
	total := int64(0)
	for n := range x.Cuts {
		s, err := m.Segment(x, n)
		if err != nil {
			return nil, err
		}
		if s.Size > MaxSegment {
			return nil, unfit("the picture has no key frame for %d bytes from second %.1f on; a segment may have %d; give ffmpeg -g 50", s.Size, v.seconds(x.Starts[n]), int64(MaxSegment))
		}
		total += s.Size
		x.Peak = max(x.Peak, int64(float64(s.Size)*8/x.Seconds(n)))
	}
	x.Average = int64(float64(total) * 8 / max(0.001, float64(x.DurationMS)/1000))
	return x, x.validate()
}

// Segments is the number of media segments.
func (x *Index) Segments() int { return len(x.Cuts) }

// Seconds is how long segment n lasts.
func (x *Index) Seconds(n int) float64 {
	return max(0.001, float64(x.Starts[n+1]-x.Starts[n])/float64(x.Video.Timescale))
}

// Longest is the length of the longest segment, in seconds.
func (x *Index) Longest() (s float64) {
	for n := range x.Cuts {
		s = max(s, x.Seconds(n))
	}
	return s
}

// Tag names the film's bytes in addresses, short.
func (x *Index) Tag() string { return x.SHA256[:12] }

// ParseIndex reads what Encode wrote.
func ParseIndex(b []byte) (*Index, error) {
	if len(b) > maxIndex {
		return nil, fmt.Errorf("film: the index has %d bytes, at most %d are allowed", len(b), maxIndex)
	}
	x := new(Index)
	if err := json.Unmarshal(b, x); err != nil {
		return nil, fmt.Errorf("film: the index: %w", err)
	}
	return x, x.validate()
}

// Encode writes the index.
func (x *Index) Encode() ([]byte, error) {
	b, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("film: write the index: %w", err)
	}
	return b, nil
}

func (x *Index) validate() error {
	bad := func(what string) error { return fmt.Errorf("film: the index is malformed: %s", what) }
	switch {
	case x.Format != Format:
		return fmt.Errorf("film: the index has format %d, this version knows %d; run the same version of the program everywhere", x.Format, Format)
	case len(x.SHA256) != 64:
		return bad("sha256")
	case x.Video.Timescale == 0 || x.Video.Timescale > maxTimescale:
		return bad("timescale")
	case len(x.Cuts) == 0 || len(x.Starts) != len(x.Cuts)+1 || x.Cuts[0] != 0:
		return bad("cuts")
	case x.Lead < 0 || x.Lead > 60:
		return bad("lead_s")
	}
	for n := range x.Cuts {
		if n > 0 && x.Cuts[n] <= x.Cuts[n-1] || x.Starts[n+1] < x.Starts[n] || x.Starts[n] < -1<<50 || x.Starts[n+1] > 1<<50 {
			return bad("cuts")
		}
	}
	return nil
}

var errOtherFilm = errors.New("film: the index is of another film")

// audioFrom is the first frame of sound that begins at or after the video time.
func (m *Movie) audioFrom(ticks int64) int {
	a, v := m.Audio, m.Video
	return sort.Search(len(a.samples), func(i int) bool {
		return (a.samples[i].dts+a.shift)*int64(v.Timescale) >= ticks*int64(a.Timescale)
	})
}
