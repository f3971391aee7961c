// Package viewer plays films as a person would see them, and writes down what
// that person would complain about. It shows no picture.
//
// Playback is the pure part: film arrives, time passes, and when there is nothing
// to show the film stands still: a stall. HLS plays from a playlist by HTTP; Pace
// plays what comes out of another program.
//
// A Playback begins when the first film has come. It never skips: what came late
// is shown late. What never came (a request that failed and was not repeated) is
// lost, and counted as lost.
//
// Limit: HLS of one rendition, segments in their order; a playlist of at most
// 1 MiB, a segment of at most 64 MiB.
package viewer
