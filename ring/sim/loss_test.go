package sim

import (
	"testing"
	"time"

	"rain/ring"
)

// Sixteen members, 5 % of all datagrams lost, acknowledgements too: nobody is left
// out. A minute by default; MINUTES=60 for an hour of virtual time.
func TestNobodyLeftOutByLoss(t *testing.T) {
	minutes := env(t, "MINUTES", 1)
	for _, preset := range []string{"lan", "laptop"} {
		t.Run(preset, func(t *testing.T) {
			opt := Calm(16, timing(t, preset))
			opt.MinLatency, opt.MaxLatency = 100*time.Microsecond, 900*time.Microsecond
			opt.Loss, opt.FaultEvery, opt.ProposeEvery = 0.05, time.Hour, 5*time.Second // no fault has any weight
			opt.Drift = 50_000
			c := New(1, opt, nil)
			if err := c.RunUntil(10*time.Second, c.Whole); err != nil {
				t.Fatal(err)
			}
			doubts, left := 0, 0
			c.onTrace = func(_ *node, tr *ring.Trace) {
				switch tr.Kind {
				case ring.TraceDoubt:
					doubts++
				case ring.TraceSuspect, ring.TraceOut:
					left++
				}
			}
			for range minutes {
				if err := c.Run(time.Minute); err != nil {
					t.Fatal(err)
				}
				c.forgetTokens()
			}
			t.Logf("%s, %d minutes, 16 members, 5 %% loss: %d tokens, %d made anew, %d doubts, %d suspected or left out",
				preset, minutes, c.Count.Tokens, c.Count.Regenerations, doubts, left)
			if left > 0 || !c.Whole() {
				t.Errorf("sim: invariant 6 (liveness) broken: %d members were suspected or left out by loss alone; whole at the end: %v", left, c.Whole())
			}
		})
	}
}
