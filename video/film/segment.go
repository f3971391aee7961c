package film

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"
)

// Segment is one media segment: a header, then ranges of the film.
type Segment struct {
	Header []byte
	Parts  []Part
	Size   int64 // of all
}

// Part is Length bytes of the film from Offset.
type Part struct {
	Offset, Length int64
}

// flags of a sample (ISO/IEC 14496-12 section 8.8.3.1).
const (
	syncFlags  = 0x02000000 // depends on no other
	otherFlags = 0x01010000 // depends on others, no key frame
)

// Init is the init segment.
func (m *Movie) Init() ([]byte, error) {
	init := mp4.CreateEmptyInit()
	for _, t := range []*Track{m.Video, m.Audio} {
		if t == nil {
			continue
		}
		kind := "video"
		if t == m.Audio {
			kind = "audio"
		}
		init.AddEmptyTrack(t.Timescale, kind, language(t.lang))
		trak := init.Moov.Traks[len(init.Moov.Traks)-1]
		trak.Mdia.Minf.Stbl.Stsd.AddChild(t.entry)
		if t == m.Video {
			trak.Tkhd.Width, trak.Tkhd.Height = mp4.Fixed32(t.Width)<<16, mp4.Fixed32(t.Height)<<16
		}
	}
	var b bytes.Buffer
	if err := init.Encode(&b); err != nil {
		return nil, fmt.Errorf("film: write the init segment: %w", err)
	}
	m.Video.turn.turn(b.Bytes())
	return b.Bytes(), nil
}

// language is a three-letter code that the library takes without adding a box.
func language(s string) string {
	if len(s) != 3 {
		return "und"
	}
	for _, c := range s {
		if c < 'a' || c > 'z' {
			return "und"
		}
	}
	return s
}

// Segment cuts segment n.
func (m *Movie) Segment(x *Index, n int) (*Segment, error) {
	if n < 0 || n >= len(x.Cuts) {
		return nil, fmt.Errorf("film: there is no segment %d; there are %d", n, len(x.Cuts))
	}
	if x.Size != m.Size || x.Video.Timescale != m.Video.Timescale || x.Cuts[len(x.Cuts)-1] >= len(m.Video.samples) || x.Lead != m.lead {
		return nil, errOtherFilm
	}
	first, last := x.Cuts[n], len(m.Video.samples)
	if n+1 < len(x.Cuts) {
		last = x.Cuts[n+1]
	}
	moof := &mp4.MoofBox{}
	truns := []*mp4.TrunBox{}
	s := &Segment{}
	if err := moof.AddChild(mp4.CreateMfhd(uint32(n + 1))); err != nil {
		return nil, fmt.Errorf("film: segment %d: %w", n, err)
	}
	add := func(id uint32, t *Track, first, last int) error {
		if first >= last {
			return nil
		}
		traf, trun, err := t.fragment(id, first, last, x.Lead)
		if err != nil {
			return err
		}
		truns = append(truns, trun)
		s.take(t.samples[first:last])
		return moof.AddChild(traf)
	}
	err := add(1, m.Video, first, last)
	if err == nil && m.Audio != nil {
		from, to := 0, len(m.Audio.samples)
		if n > 0 {
			from = m.audioFrom(x.Starts[n])
		}
		if n+1 < len(x.Cuts) {
			to = m.audioFrom(x.Starts[n+1])
		}
		err = add(2, m.Audio, from, to)
	}
	if err != nil {
		return nil, fmt.Errorf("film: segment %d: %w", n, err)
	}
	return s, s.seal(moof, truns)
}

// fragment describes the samples first to last (not included).
func (t *Track) fragment(id uint32, first, last int, lead int64) (*mp4.TrafBox, *mp4.TrunBox, error) {
	traf, trun := &mp4.TrafBox{}, mp4.CreateTrun(0)
	begin := t.samples[first].dts + t.shift + lead*int64(t.Timescale)
	if begin < 0 {
		return nil, nil, errOtherFilm
	}
	trun.Samples = make([]mp4.Sample, 0, last-first)
	for _, s := range t.samples[first:last] {
		flags := uint32(otherFlags)
		if s.sync {
			flags = syncFlags
		}
		trun.Samples = append(trun.Samples, mp4.Sample{Flags: flags, Dur: s.dur, Size: s.size, CompositionTimeOffset: s.cto})
	}
	for _, c := range []mp4.Box{mp4.CreateTfhd(id), mp4.CreateTfdt(uint64(begin)), trun} {
		if err := traf.AddChild(c); err != nil {
			return nil, nil, err
		}
	}
	return traf, trun, nil
}

// take appends the samples' bytes; those that lie side by side are one part.
func (s *Segment) take(samples []sample) {
	for _, c := range samples {
		size := int64(c.size)
		s.Size += size
		if k := len(s.Parts) - 1; k >= 0 && s.Parts[k].Offset+s.Parts[k].Length == c.offset {
			s.Parts[k].Length += size
		} else if size > 0 {
			s.Parts = append(s.Parts, Part{c.offset, size})
		}
	}
}

// styp says that a CMAF media segment follows.
var styp = []byte("\x00\x00\x00\x18stypmsdh\x00\x00\x00\x00msdhcmfs")

// seal writes the header, now that the sizes are known.
func (s *Segment) seal(moof *mp4.MoofBox, truns []*mp4.TrunBox) error {
	at := int64(moof.Size()) + 8
	if at+s.Size > 1<<31-1 {
		return unfit("a segment of %d bytes is too large", s.Size)
	}
	mdat := s.Size
	for _, t := range truns {
		t.DataOffset = int32(at)
		for _, c := range t.Samples {
			at += int64(c.Size)
		}
	}
	w := bits.NewFixedSliceWriter(int(moof.Size()))
	if err := moof.EncodeSW(w); err != nil {
		return fmt.Errorf("film: write a moof: %w", err)
	}
	s.Header = append(append([]byte(nil), styp...), w.Bytes()...)
	s.Header = binary.BigEndian.AppendUint32(s.Header, uint32(mdat+8))
	s.Header = append(s.Header, "mdat"...)
	s.Size += int64(len(s.Header))
	return nil
}
