package node

import (
	"log/slog"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceness of the whole node: a node that waits for a core loses its leases, and
// what else runs on the box can wait.
const niceness = -10

// raisePriority sets the niceness of all threads that the process has; those
// that come later inherit it. It needs CAP_SYS_NICE or root; without it the
// node runs as other programs do.
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
	}
}
