package film

import (
	"fmt"
	"math"
	"strings"
)

// Master is the master playlist: one rendition, at media.
func (x *Index) Master(media string) []byte {
	codecs := x.Video.Codec
	if x.Audio != nil {
		codecs += "," + x.Audio.Codec
	}
	return fmt.Appendf(nil, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"+
		"#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=\"%s\",RESOLUTION=%dx%d,FRAME-RATE=%.3f\n%s\n",
		max(1, x.Peak), max(1, x.Average), codecs, x.Video.Width, x.Video.Height, x.Video.FrameRate, media)
}

// Media is the media playlist. segment names the address of a segment by its
// number, -1 the init segment.
func (x *Index) Media(segment func(n int) string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n", int(math.Ceil(x.Longest())))
	fmt.Fprintf(&b, "#EXT-X-MAP:URI=\"%s\"\n", segment(-1))
	for n := range x.Cuts {
		fmt.Fprintf(&b, "#EXTINF:%.6f,\n%s\n", x.Seconds(n), segment(n))
	}
	b.WriteString("#EXT-X-ENDLIST\n")
	return []byte(b.String())
}
