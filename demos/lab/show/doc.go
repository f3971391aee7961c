// Package show is the demonstration of the seeds: films play in a laboratory while
// somebody breaks links, interfaces, switches and hosts at random, and mends them
// again, always leaving so many nodes connected that nothing may be noticed. In
// the end there is a report and a picture: what was broken when, and what each
// viewer saw.
//
// Breaker is the pure part: it decides what is broken and mended next. It breaks
// only what leaves
//
//   - Least nodes that can all talk to each other with one relay (the ring's
//     members, see rain/demos/lab/reach), more than half of those there were before;
//   - each viewer Near living nodes that it reaches directly: as many as it takes
//     to put the film together, for big bytes are not relayed.
package show
