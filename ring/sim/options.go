package sim

import (
	"math/rand/v2"
	"time"

	"rain/ring"
)

// Options are the knobs of a run. Probabilities are 0 to 1.
type Options struct {
	// Only, if not 0, is the one invariant that is checked: a mutant that breaks two
	// would else be caught by the first alone.
	Only     int
	Nodes    int // 1 to 7
	Founders int // the first so many
	LateJoin int // the last so many start within the first seconds, not at once
	Timing   ring.Timing
	// Aggressive is the kind of detection; else it is conservative.
	Aggressive bool

	OldWire uint64 // mask of nodes that send and get messages in the oldest version

	MinLatency, MaxLatency time.Duration // of a datagram
	Loss                   float64       // of each datagram, acknowledgements too
	Late                   float64       // a message that arrives once only, perhaps after its verdict
	AckLoss                float64       // a message that arrives and is never acknowledged
	OldInc                 float64       // a message of an old incarnation that gets through
	FetchFail              float64       // of each fetch of a snapshot
	FetchTime              time.Duration // most time that a fetch takes
	BigOps                 float64       // ops of up to half of ring.MaxOp

	Drift            int           // clocks: most parts in a million off true
	TimerLate        time.Duration // most lateness of a wake-up
	MinSync, MaxSync time.Duration // of the disk
	SaveFail         float64       // of each group of saves, once

	Witness     bool    // policy witness, else dynamic
	WitnessFail float64 // of each question to it

	FaultEvery   time.Duration // mean time between faults; 0: none
	Weights      [faultKinds]int
	Guest        func(node int) Guest // a rider of an upper layer on RiderQueue; nil: none
	Strike       float64              // a fault aimed at a token just sent, per token
	ProposeEvery time.Duration        // mean, per node; 0: nothing is proposed
}

// Calm are the options of a quiet, exact cluster: what scripts start from.
func Calm(nodes int, timing ring.Timing) Options {
	return Options{
		Nodes: nodes, Founders: nodes, Timing: timing,
		MinLatency: 500 * time.Microsecond, MaxLatency: 500 * time.Microsecond,
		MinSync: 2 * time.Millisecond, MaxSync: 2 * time.Millisecond,
	}
}

// Random draws the options of a seed: size, times and a mix of faults, so that
// some seeds are of one kind of trouble and some of all.
func Random(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	preset := []string{"lan", "lan", "fast", "laptop"}[r.IntN(4)]
	timing, ok := ring.Preset(preset)
	if !ok {
		panic("sim: the ring has no preset " + preset)
	}
	timing.ColdAfter = time.Duration(400+r.IntN(800)) * time.Millisecond
	n := []int{1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 7}[r.IntN(15)]
	o := Calm(n, timing)
	if r.IntN(2) == 0 {
		o.Founders = 1 + r.IntN(n)
	}
	if r.IntN(3) == 0 {
		o.LateJoin = r.IntN(n)
	}
	o.Aggressive = seed%3 == 0
	o.MinLatency = time.Duration(50+r.IntN(500)) * time.Microsecond
	o.MaxLatency = o.MinLatency + time.Duration(r.IntN(2000))*time.Microsecond
	o.Drift = []int{0, 20_000, 50_000, 50_000}[r.IntN(4)]
	if r.IntN(2) == 0 {
		o.TimerLate = time.Duration(1+r.IntN(2000)) * time.Microsecond
	}
	o.MinSync = 100 * time.Microsecond
	o.MaxSync = []time.Duration{time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond}[r.IntN(3)]
	o.Loss = []float64{0, 0.01, 0.05, 0.2}[r.IntN(4)]
	o.Late = []float64{0, 0.001, 0.005}[r.IntN(3)]
	o.AckLoss = []float64{0, 0.001, 0.005}[r.IntN(3)]
	o.OldInc = []float64{0, 0.5}[r.IntN(2)]
	o.FetchFail = []float64{0, 0.2}[r.IntN(2)]
	o.FetchTime = []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond}[r.IntN(3)]
	o.BigOps = []float64{0, 0, 0, 0.02}[r.IntN(4)]
	o.SaveFail = []float64{0, 0.05}[r.IntN(2)]
	o.FaultEvery = time.Duration(20+r.IntN(150)) * time.Millisecond
	o.Strike = []float64{0, 0.003, 0.015}[r.IntN(3)]
	o.ProposeEvery = time.Duration(10+r.IntN(90)) * time.Millisecond
	for i := range o.Weights {
		if r.IntN(3) > 0 {
			o.Weights[i] = faultWeight[i] * (1 + r.IntN(3))
		}
	}
	return o
}
