package film

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/Eyevinn/mp4ff/aac"
	"github.com/Eyevinn/mp4ff/mp4"
)

// describe names a track for people; codec is "avc", "aac" or something else.
func describe(t *mp4.TrakBox) (what, codec string) {
	if t.Mdia == nil || t.Mdia.Hdlr == nil || t.Mdia.Minf == nil || t.Mdia.Minf.Stbl == nil || t.Mdia.Minf.Stbl.Stsd == nil ||
		t.Mdia.Mdhd == nil || len(t.Mdia.Minf.Stbl.Stsd.Children) == 0 {
		return "a track without a description", ""
	}
	entry := t.Mdia.Minf.Stbl.Stsd.Children[0]
	names := map[string]string{
		"hvc1": "HEVC", "hev1": "HEVC", "av01": "AV1", "vp09": "VP9", "vp08": "VP8", "mp4v": "MPEG-4 Visual", "encv": "encrypted video",
		"enca": "encrypted audio", "ac-3": "AC-3", "ec-3": "E-AC-3", "Opus": "Opus", "fLaC": "FLAC", "alac": "ALAC", ".mp3": "MP3", "apcn": "ProRes",
	}
	name := fmt.Sprintf("%q", entry.Type())
	if n := names[entry.Type()]; n != "" {
		name += " (" + n + ")"
	}
	what = map[string]string{"vide": "video ", "soun": "audio "}[t.Mdia.Hdlr.HandlerType] + name
	switch e := entry.(type) {
	case *mp4.VisualSampleEntryBox:
		if t.Mdia.Hdlr.HandlerType == "vide" && (e.Type() == "avc1" || e.Type() == "avc3") && e.AvcC != nil {
			codec = "avc"
		}
	case *mp4.AudioSampleEntryBox:
		if t.Mdia.Hdlr.HandlerType == "soun" && e.Type() == "mp4a" && e.Esds != nil && e.Esds.DecConfigDescriptor != nil {
			if o := e.Esds.DecConfigDescriptor.ObjectType; o == 0x40 {
				codec = "aac"
			} else {
				what += fmt.Sprintf(" of type 0x%02x", o)
			}
		}
	}
	return what, codec
}

func list(found []string) string {
	if len(found) == 0 {
		return "no track at all"
	}
	return strings.Join(found[:min(len(found), 8)], ", ")
}

// newTrack reads one track; left is how many samples the film may still have.
func newTrack(t *mp4.TrakBox, movieScale uint32, size int64, left *int) (*Track, error) {
	stbl := t.Mdia.Minf.Stbl
	out := &Track{Timescale: t.Mdia.Mdhd.Timescale, entry: stbl.Stsd.Children[0], lang: t.Mdia.Mdhd.GetLanguage()}
	if len(stbl.Stsd.Children) > 1 {
		return nil, unfit("the track changes its format on the way (%d sample descriptions); %s", len(stbl.Stsd.Children), convert)
	}
	if out.Timescale == 0 || out.Timescale > maxTimescale {
		return nil, unfit("the track's timescale is %d", out.Timescale)
	}
	if err := out.codec(); err != nil {
		return nil, err
	}
	if stbl.Stsz == nil || stbl.Stts == nil || stbl.Stsc == nil || stbl.Stco == nil && stbl.Co64 == nil {
		return nil, unfit("the track lacks one of stsz, stts, stsc and stco")
	}
	n := int(stbl.Stsz.SampleNumber)
	if n == 0 {
		return nil, unfit("the track is empty")
	}
	if n > *left {
		return nil, unfit("the film has more than %d samples", MaxSamples)
	}
	*left -= n
	if n > 1<<16 && int64(n) > size {
		return nil, unfit("the track says that it has %d samples, the file has %d bytes", n, size)
	}
	out.samples = make([]sample, n)
	for _, step := range []func(*mp4.StblBox) error{
		func(s *mp4.StblBox) error { return out.sizes(s.Stsz) }, out.times, out.syncs,
		func(s *mp4.StblBox) error { return out.places(s, size) },
	} {
		if err := step(stbl); err != nil {
			return nil, err
		}
	}
	return out, out.edits(t.Edts, movieScale)
}

func (t *Track) codec() error {
	switch e := t.entry.(type) {
	case *mp4.VisualSampleEntryBox:
		c := e.AvcC
		if len(c.SPSnalus) == 0 || len(c.PPSnalus) == 0 {
			return unfit("the H.264 track has no parameter sets in its header; %s", convert)
		}
		t.Codec = fmt.Sprintf("avc1.%02X%02X%02X", c.AVCProfileIndication, c.ProfileCompatibility, c.AVCLevelIndication)
		t.Width, t.Height = int(e.Width), int(e.Height)
		if t.Width == 0 || t.Height == 0 {
			return unfit("the picture is %d x %d", t.Width, t.Height)
		}
	case *mp4.AudioSampleEntryBox:
		info := e.Esds.DecConfigDescriptor.DecSpecificInfo
		if info == nil {
			return unfit("the AAC track has no decoder configuration")
		}
		asc, err := aac.DecodeAudioSpecificConfig(bytes.NewReader(info.DecConfig))
		if err != nil {
			return unfit("the AAC track's decoder configuration %x: %w", info.DecConfig, err)
		}
		t.Codec = fmt.Sprintf("mp4a.40.%d", asc.ObjectType)
		t.Rate, t.Channels = asc.SamplingFrequency, int(asc.ChannelConfiguration)
	}
	return nil
}

func (t *Track) sizes(b *mp4.StszBox) error {
	if b.SampleUniformSize == 0 && len(b.SampleSize) != len(t.samples) {
		return unfit("stsz has %d sizes for %d samples", len(b.SampleSize), len(t.samples))
	}
	for i := range t.samples {
		t.samples[i].size = b.SampleUniformSize
		if b.SampleUniformSize == 0 {
			t.samples[i].size = b.SampleSize[i]
		}
	}
	return nil
}

// times fills in decode times, durations and composition offsets.
func (t *Track) times(stbl *mp4.StblBox) error {
	i, now := 0, int64(0)
	for k, count := range stbl.Stts.SampleCount {
		for ; count > 0 && i < len(t.samples); count-- {
			t.samples[i].dts, t.samples[i].dur = now, stbl.Stts.SampleTimeDelta[k]
			now += int64(stbl.Stts.SampleTimeDelta[k])
			i++
		}
	}
	if i < len(t.samples) {
		return unfit("stts has the times of %d of %d samples", i, len(t.samples))
	}
	if now == 0 || now/int64(t.Timescale) > int64(MaxDuration/time.Second) {
		return unfit("the track takes %d s; more than 0 and at most %v is allowed", now/int64(t.Timescale), MaxDuration)
	}
	if stbl.Ctts == nil {
		return nil
	}
	i = 0
	limit := 60 * int64(t.Timescale)
	for k, offset := range stbl.Ctts.SampleOffset {
		if int64(offset) > limit || int64(offset) < -limit {
			return unfit("ctts moves a picture by %d s", int64(offset)/int64(t.Timescale))
		}
		for count := stbl.Ctts.SampleCount(k); count > 0 && i < len(t.samples); count-- {
			t.samples[i].cto = offset
			i++
		}
	}
	return nil
}

func (t *Track) syncs(stbl *mp4.StblBox) error {
	if stbl.Stss == nil {
		for i := range t.samples {
			t.samples[i].sync = true
		}
		return nil
	}
	for _, n := range stbl.Stss.SampleNumber {
		if n == 0 || int64(n) > int64(len(t.samples)) {
			return unfit("stss names sample %d of %d", n, len(t.samples))
		}
		t.samples[n-1].sync = true
	}
	return nil
}

// places finds where each sample lies in the file.
func (t *Track) places(stbl *mp4.StblBox, size int64) error {
	chunks := 0
	var at func(int) uint64
	if stbl.Stco != nil {
		chunks, at = len(stbl.Stco.ChunkOffset), func(i int) uint64 { return uint64(stbl.Stco.ChunkOffset[i]) }
	} else {
		chunks, at = len(stbl.Co64.ChunkOffset), func(i int) uint64 { return stbl.Co64.ChunkOffset[i] }
	}
	i, e, per := 0, 0, uint32(0)
	for c := 0; c < chunks && i < len(t.samples); c++ {
		for e < len(stbl.Stsc.Entries) && int64(stbl.Stsc.Entries[e].FirstChunk) <= int64(c)+1 {
			per = stbl.Stsc.Entries[e].SamplesPerChunk
			e++
		}
		off := at(c)
		for k := uint32(0); k < per && i < len(t.samples); k++ {
			s := &t.samples[i]
			if off > uint64(size) || uint64(s.size) > uint64(size)-off {
				return unfit("sample %d lies at %d, behind the end of the file (%d bytes); the file is cut short", i+1, off, size)
			}
			s.offset = int64(off)
			off += uint64(s.size)
			i++
		}
	}
	if i < len(t.samples) {
		return unfit("the chunks hold %d of %d samples", i, len(t.samples))
	}
	return nil
}

// edits turns the edit list into one shift: an empty edit delays the track, the
// media time of the edit after it is where the track begins.
func (t *Track) edits(edts *mp4.EdtsBox, movieScale uint32) error {
	if edts == nil || len(edts.Elst) == 0 {
		return nil
	}
	limit := int64(MaxDuration/time.Second) * int64(t.Timescale)
	real := 0
	for _, e := range edts.Elst[0].Entries {
		if e.MediaTime == -1 {
			if real > 0 || e.SegmentDuration > uint64(MaxDuration/time.Second)*uint64(movieScale) {
				return unfit("the track's edit list has a hole; %s", convert)
			}
			t.shift += int64(float64(e.SegmentDuration) / float64(movieScale) * float64(t.Timescale))
			continue
		}
		if real++; real > 1 {
			return unfit("the track's edit list joins several parts; %s", convert)
		}
		if e.MediaTime < 0 || e.MediaTime > limit || t.shift > limit {
			return unfit("the track's edit list begins at %d", e.MediaTime)
		}
		t.shift -= e.MediaTime
	}
	return nil
}
