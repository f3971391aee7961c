package film

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"
)

// Limits of a film.
const (
	MaxMoov     = 64 << 20
	MaxSamples  = 4 << 20
	MaxDuration = 24 * time.Hour
	MaxSegment  = 256 << 20

	maxTimescale = 10_000_000 // with MaxDuration, products of two times fit into 63 bits
)

// Movie is the table of a film's samples. It is read-only once made.
type Movie struct {
	Size  int64 // of the file
	Video *Track
	Audio *Track // nil: a silent film
	lead  int64  // seconds added to all times
}

// Track is one track of a film.
type Track struct {
	Timescale     uint32
	Codec         string // as RFC 6381 writes it
	Width, Height int    // of video, as coded
	Rate          int    // of audio, samples a second
	Channels      int

	entry   mp4.Box // the sample description
	lang    string
	turn    matrix
	shift   int64 // what the edit list adds to decode times
	samples []sample
}

// sample is a picture, or a frame of sound.
type sample struct {
	offset int64 // in the file
	dts    int64 // in the track's timescale
	size   uint32
	dur    uint32
	cto    int32
	sync   bool
}

// pts is when a sample is shown, from the beginning of the film.
func (t *Track) pts(i int) int64 { return t.samples[i].dts + int64(t.samples[i].cto) + t.shift }

// end is when the last shown sample ends.
func (t *Track) end() (end int64) {
	for i := range t.samples {
		end = max(end, t.pts(i)+int64(t.samples[i].dur))
	}
	return end
}

func (t *Track) seconds(ticks int64) float64 { return float64(ticks) / float64(t.Timescale) }

// Parse reads the tables of a film of size bytes.
func Parse(r io.ReaderAt, size int64) (*Movie, error) {
	moov, err := findMoov(r, size)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, moov.end-moov.body)
	if _, err := r.ReadAt(raw, moov.body); err != nil && err != io.EOF {
		return nil, fmt.Errorf("film: read the moov of %d bytes at %d: %w", len(raw), moov.start, err)
	}
	boxes, err := children(bytes.NewReader(raw), 0, int64(len(raw)))
	if err != nil {
		return nil, err
	}
	m := &Movie{Size: size}
	var mvhd *mp4.MvhdBox
	var traks []*mp4.TrakBox
	var turns []matrix
	for _, b := range boxes {
		switch b.name {
		case "mvex":
			return nil, unfit("the file is a fragmented MP4 (its moov has mvex); repack it with: ffmpeg -i IN -c copy -movflags +faststart OUT.mp4")
		case "mvhd", "trak": // what else is there may be odd and does not matter
		default:
			continue
		}
		d, err := decode(raw[b.start:b.end], b.start)
		if err != nil {
			return nil, err
		}
		switch d := d.(type) {
		case *mp4.MvhdBox:
			mvhd = d
		case *mp4.TrakBox:
			traks, turns = append(traks, d), append(turns, matrixOf(raw[b.start:b.end]))
		}
	}
	if mvhd == nil || mvhd.Timescale == 0 {
		return nil, unfit("moov has no usable mvhd")
	}
	if err := m.choose(traks, turns, mvhd.Timescale); err != nil {
		return nil, err
	}
	return m, m.check()
}

// choose takes the first track of each kind that fits.
func (m *Movie) choose(traks []*mp4.TrakBox, turns []matrix, movieScale uint32) error {
	var found []string
	left := MaxSamples
	for i, t := range traks {
		what, codec := describe(t)
		found = append(found, what)
		var err error
		switch {
		case codec == "avc" && m.Video == nil:
			if m.Video, err = newTrack(t, movieScale, m.Size, &left); err == nil {
				m.Video.turn = turns[i]
			}
		case codec == "aac" && m.Audio == nil:
			m.Audio, err = newTrack(t, movieScale, m.Size, &left)
		}
		if err != nil {
			return fmt.Errorf("%w (track %d, %s)", err, i+1, what)
		}
	}
	if m.Video == nil {
		return unfit("there is no H.264 video track; found: %s; %s", list(found), convert)
	}
	if m.Audio == nil {
		for _, t := range traks {
			if what, _ := describe(t); t.Mdia != nil && t.Mdia.Hdlr != nil && t.Mdia.Hdlr.HandlerType == "soun" {
				return unfit("the sound is not AAC; found: %s; %s", what, convert)
			}
		}
	}
	return nil
}

// check holds a film to what the cutter relies on.
func (m *Movie) check() error {
	v := m.Video
	if !v.samples[0].sync {
		return unfit("the video does not begin with a key frame")
	}
	last := int64(-1 << 62)
	for i := range v.samples {
		if v.samples[i].sync {
			if p := v.pts(i); p <= last {
				return unfit("the key frame at sample %d is shown before an earlier one", i+1)
			} else {
				last = p
			}
		}
	}
	for _, t := range []*Track{m.Video, m.Audio} {
		if t == nil {
			continue
		}
		if first := t.samples[0].dts + t.shift; first < 0 {
			m.lead = max(m.lead, (-first+int64(t.Timescale)-1)/int64(t.Timescale))
		}
	}
	if m.lead > 60 {
		return unfit("the edit list leaves out the first %d s; at most 60 s are allowed; %s", m.lead, convert)
	}
	return nil
}

// Duration is when picture and sound are over.
func (m *Movie) Duration() time.Duration {
	d := m.Video.seconds(m.Video.end())
	if m.Audio != nil {
		d = max(d, m.Audio.seconds(m.Audio.end()))
	}
	return time.Duration(d * float64(time.Second))
}
