package film

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"
)

// ErrUnfit says that a file is no film that can be played from here. It comes
// wrapped with what was found and what to do.
var ErrUnfit = errors.New("not a film that can be played")

const convert = "convert it with: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p -c:a aac -movflags +faststart OUT.mp4"

func unfit(format string, args ...any) error {
	return fmt.Errorf("film: %w: %w", ErrUnfit, fmt.Errorf(format, args...))
}

// maxTop bounds the boxes at the top of a file; a film has a handful.
const maxTop = 10000

// box is where a box lies.
type box struct {
	name       string
	start, end int64 // of the whole box
	body       int64 // where its content begins
}

// header reads the header of the box at off; end is that of what holds it.
func header(r io.ReaderAt, off, end int64) (box, error) {
	var h [16]byte
	if end-off < 8 {
		return box{}, unfit("%d bytes at %d are too few for a box; the file is cut short", end-off, off)
	}
	if _, err := r.ReadAt(h[:8], off); err != nil {
		return box{}, fmt.Errorf("film: read the box at %d: %w", off, err)
	}
	b := box{name: string(h[4:8]), start: off, body: off + 8}
	size := int64(binary.BigEndian.Uint32(h[:4]))
	switch size {
	case 0:
		size = end - off // to the end of the file
	case 1:
		if end-off < 16 {
			return box{}, unfit("the box at %d is cut short", off)
		}
		if _, err := r.ReadAt(h[8:16], off+8); err != nil {
			return box{}, fmt.Errorf("film: read the box at %d: %w", off, err)
		}
		b.body += 8
		large := binary.BigEndian.Uint64(h[8:16])
		if large > uint64(end-off) {
			return box{}, unfit("box %q at %d says that it has %d bytes, there are %d; the file is cut short", b.name, off, large, end-off)
		}
		size = int64(large)
	}
	if b.end = off + size; b.end > end {
		return box{}, unfit("box %q at %d says that it has %d bytes, there are %d; the file is cut short", b.name, off, size, end-off)
	}
	if b.body > b.end {
		return box{}, unfit("box %q at %d says that it has %d bytes, fewer than its header", b.name, off, size)
	}
	return b, nil
}

// children lists the boxes between off and end.
func children(r io.ReaderAt, off, end int64) ([]box, error) {
	var out []box
	for off < end {
		if len(out) == maxTop {
			return nil, unfit("more than %d boxes side by side", maxTop)
		}
		b, err := header(r, off, end)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
		off = b.end
	}
	return out, nil
}

// findMoov looks for the moov among the boxes of the file.
func findMoov(r io.ReaderAt, size int64) (box, error) {
	if size < 8 {
		return box{}, unfit("the file has %d bytes; an MP4 file (H.264 and AAC) is wanted", size)
	}
	var head [12]byte
	n, _ := r.ReadAt(head[:], 0) // what is missing is told below
	if n < 12 || string(head[4:8]) != "ftyp" {
		return box{}, unfit("the file is %s; an MP4 file (H.264 and AAC) is wanted; %s", kind(head[:n]), convert)
	}
	top, err := children(r, 0, size)
	if err != nil {
		return box{}, err
	}
	moov, names := box{}, []string{}
	for _, b := range top {
		if len(names) < 12 {
			names = append(names, fmt.Sprintf("%q", b.name))
		}
		switch b.name {
		case "moov":
			moov = b
		case "moof":
			return box{}, unfit("the file is a fragmented MP4 (it has moof boxes); repack it with: ffmpeg -i IN -c copy -movflags +faststart OUT.mp4")
		}
	}
	if moov.end == 0 {
		return box{}, unfit("there is no moov box, only %s; was the recording broken off?", strings.Join(names, " "))
	}
	if moov.end-moov.start > MaxMoov {
		return box{}, unfit("moov has %d bytes, at most %d are allowed", moov.end-moov.start, int64(MaxMoov))
	}
	return moov, nil
}

// kind guesses what a file is that is no MP4.
func kind(head []byte) string {
	s := string(head)
	switch {
	case strings.HasPrefix(s, "\x1a\x45\xdf\xa3"):
		return "Matroska or WebM"
	case strings.HasPrefix(s, "RIFF"):
		return "RIFF (AVI or WAV)"
	case strings.HasPrefix(s, "OggS"):
		return "Ogg"
	case strings.HasPrefix(s, "\x47"):
		return "perhaps an MPEG transport stream"
	case strings.HasPrefix(s, "FLV"):
		return "Flash video"
	case strings.HasPrefix(s, "\x00\x00\x01\xba"):
		return "an MPEG program stream"
	case len(s) >= 8 && (s[4:8] == "moov" || s[4:8] == "mdat" || s[4:8] == "wide"):
		return "an old QuickTime movie (no ftyp box)"
	}
	return fmt.Sprintf("of an unknown kind (it begins with %q)", s)
}

// decode reads one box. The library's decoders bound what they allocate by the
// bytes that are there; that they never panic on foreign bytes is not their
// promise, so it is made here.
func decode(raw []byte, start int64) (b mp4.Box, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, unfit("the box at %d is malformed: %v", start, p)
		}
	}()
	b, err = mp4.DecodeBoxSR(uint64(start), bits.NewFixedSliceReader(raw))
	if err != nil {
		return nil, unfit("the box at %d: %w", start, err)
	}
	return b, nil
}
