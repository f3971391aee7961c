package node

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// niceness of the whole node: a node that waits for a core loses its leases, and
	// what else runs on the box can wait.
	niceness = -10
	// slack is by how much the kernel may put off a sleep, in nanoseconds. Go's
	// monitor thread sleeps 20 us at a time while much is going on, and its wake-ups
	// were 8 % of what a put of 64 MiB cost. The ring's own timers have no slack.
	slack = 200_000
)

// raisePriority sets the niceness and the slack of all threads that the process
// has; those that come later inherit them. It needs CAP_SYS_NICE or root; without
// it the node runs as other programs do.
func raisePriority(log *slog.Logger) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		log.Debug("priority stays", slog.Any("err", err))
		return
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); err != nil {
			log.Debug("priority stays", slog.Any("err", err))
			return
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/timerslack_ns", tid), strconv.AppendInt(nil, slack, 10), 0); err != nil {
			log.Debug("slack of timers stays", slog.Any("err", err))
			return
		}
	}
}
