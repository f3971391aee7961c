package labtest

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// watchEnv makes this program the watch on the cores.
const watchEnv = "RAIN_LABTEST_WATCH"

// watchCores tells when a core ran nothing of this machine for a while, by a thread
// on each that is more urgent than all but the nodes' tokens, until its input ends.
//
// It is a process of its own, without garbage collection: a thread that comes back
// from the kernel while the collector looks at its stack spins until that is done,
// and one as urgent as this would keep the collector from its core. In the test's
// own process it stopped both cores for 0.8 s, the nodes with them.
func watchCores() {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	for cpu := range runtime.NumCPU() {
		go watchCore(cpu) // ends with the process
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // it ends, or has failed: both are the end
}

func watchCore(cpu int) {
	runtime.LockOSThread() // and never unlocked
	var set unix.CPUSet
	set.Set(cpu)
	if unix.SchedSetaffinity(0, &set) != nil {
		return // a core that is not ours
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 3}
	_ = unix.SchedSetAttr(0, &attr, 0) // without it the gaps are those of any program
	for last := time.Now(); ; {
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 5e6}, nil) // a signal: it looks earlier
		now := time.Now()
		if gap := now.Sub(last); gap > stood {
			fmt.Printf("core %d for %v until %s\n", cpu, gap.Round(time.Millisecond), now.UTC().Format(clock))
		}
		last = now
	}
}
