package engine

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// keepPace gives the threads of this process a real-time priority above that of
// the nodes' rings. A real switch does not stop when the hosts compute; this one
// shares its cores with them, and behind ten real-time threads it would lose the
// pings, whose loss makes the nodes still busier. Threads come and go, so it looks
// again and again; what they start begins without any priority.
func (l *Lab) keepPace(ctx context.Context) {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		if err := raiseThreads(); err != nil {
			l.log.Warn("the switches have no real-time priority: a busy machine delays frames", slog.Any("err", err))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

func raiseThreads() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 2}
	for _, e := range tasks {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		now, err := unix.SchedGetAttr(tid, 0)
		if err == nil && now.Policy != unix.SCHED_RR {
			err = unix.SchedSetAttr(tid, &attr, 0)
		}
		if err != nil && err != unix.ESRCH { // ended meanwhile
			return err
		}
	}
	return nil
}
