// Package topology builds the ways to connect nodes that have several
// interfaces to a ring of switches, and counts what faults can take from them.
// It computes; it touches no network.
//
// A Net has S switches in a ring and N nodes with Degree links each. Faults hit
// switches, nodes, links of the ring and links of nodes. After some faults the
// living switches fall into components. Who can then talk to whom depends on
// the Model:
//
//   - Direct: two nodes that touch a common component of switches;
//   - OneRelay: also those for which a third living node touches a component of
//     each;
//   - Relay: all that are connected by any number of nodes between them.
//
// The usable set is the largest set of living nodes that can all talk to each
// other; the loss is the number of all others, dead nodes included. Worst tries
// every set of f faults and is exact: its result is a proof, not a sample.
//
// Kinds: Naive puts a node on neighbouring switches. Diameter puts it on
// switches as far apart as can be, offset by one so that all pairs differ:
// i and i + S/2 + 1. Chord puts it on i and i + d; Square picks the d nearest
// the square root of S that does not divide it into short cycles.
//
// The sentence that the diameter construction is optimal (any three faults cost
// a constant number of nodes, no construction stands any four) holds in the
// Direct model. If nodes forward for each other, a chord near the square root
// of S loses only four nodes to any four faults where the diameter construction
// falls in half.
//
// Limits: MaxSwitches switches, MaxNodes nodes, MaxDegree links a node,
// MaxFaults faults, and MaxSets sets of faults in one run.
//
// API: the exported names and what they compute stay; new kinds and models may come.
//
// Source: LeMahieu, Bohossian and Bruck, "Fault-tolerant switched local area
// networks" (ETR 021, 1998).
package topology
