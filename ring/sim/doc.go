// Package sim runs whole clusters of ring.Machine in virtual time, from one
// seed, in one goroutine, and checks the invariants of the ring after every
// step.
//
// Guarantee: the same seed and options give the same run, byte for byte.
//
// What is modelled, each with its own knob in Options:
//
//   - the transport: ordered, at most once, with verdicts. A message arrives
//     and is acknowledged, or arrives and its acknowledgement does not, or is
//     lost, or arrives after its verdict. Retransmissions, one-way cuts and
//     partitions are below that. All messages go through their wire form.
//   - the process: crashes, pauses before a step and between a step and its
//     effects; what came meanwhile waits and meets a late clock.
//   - the clock of each node: an origin of its own, a rate within 5 % of true.
//   - the disk: background syncs in groups; a crash keeps what was synced and
//     a prefix of what was not; slow disks, failing disks, burned disks.
//   - the bulk path: snapshots that take time and may fail.
//   - riders: a hash chain of all that was delivered, and things that only
//     one node may hold, with the exact intervals in which each node acts; if Options.Guest is
//     given, also the rider of an upper layer.
//
// What is checked (numbers as in the ring's design):
//
//  1. one maker per epoch; equal (epoch, seq) means equal bytes; one holder
//     per epoch, and of several epochs at most one that a quorum still obeys.
//  2. what is delivered in one generation is one sequence; an epoch is made
//     with all that older epochs committed; stable ops outlive cold starts.
//  3. no two nodes act on one thing at one true time, to the nanosecond.
//  4. no two disjoint views of one generation are primary at once.
//  6. after the faults: one view, all proposals answered, nobody starves.
//  7. nothing that parses makes a machine panic.
//
// Limits: a disk is burned only while the others are a quorum without it, one
// at a time: more is beyond what the ring promises. If a pending view change then
// wants that very disk, the run counts as one in want of force and ends there.
package sim
