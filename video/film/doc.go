// Package film reads films in MP4 files and cuts them into HLS segments. It is
// a core: bytes in, bytes out; it knows no clock, network or disk.
//
// A film is an MP4 file with an H.264 video track and at most one AAC track that
// is used; moov may be anywhere, further tracks are ignored. Parse says what it
// found where it refuses one.
//
// Guarantees: the plan (Index.Cuts), the init segment and each media segment are
// functions of the film's bytes and the number alone, so that all nodes send the
// same bytes; a media segment is a computed header and ranges of the film, so
// its size is known before a byte of the film is read.
//
// A segment begins with a key frame and ends before the first key frame that is
// MinSegment or more later; the last one takes the rest. It is a styp, a moof
// with one traf for each track that has samples in it, and an mdat with the
// video samples, then the audio samples. The sound of a segment is what begins
// from its first picture until the next segment's. Sequence numbers count from 1.
// Decode times are the film's own, with edit lists applied and Index.Lead seconds
// added: whole seconds, as many as it takes for none to be negative.
//
// Limits: MaxMoov bytes of moov, MaxSamples samples in all, MaxDuration,
// MaxSegment bytes in a segment.
//
// Source: ISO/IEC 14496-12 (boxes), RFC 8216 (HLS), ISO/IEC 23000-19 (CMAF).
package film
