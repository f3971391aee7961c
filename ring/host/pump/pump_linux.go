package pump

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signal makes an eventfd readable. It never waits.
func Signal(fd int) {
	one := uint64(1)
	// It can fail only if it is signalled already, more often than it counts.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// Drain makes an eventfd unreadable again.
func Drain(fd int) {
	var n uint64
	// It can fail only if nobody has signalled.
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), 8)
}

// Run pumps while the node is busy, until ctx ends. Once only.
func (p *Pump) Run(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("pump: eventfd: %w; raise the limit of open files", err)
	}
	defer unix.Close(wake)
	defer context.AfterFunc(ctx, func() { Signal(wake) })()
	polls := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	for _, s := range p.sources {
		// A copy: the descriptor's number stays this pump's own.
		fd, err := unix.FcntlInt(uintptr(s.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("pump: copying a descriptor: %w; raise the limit of open files", err)
		}
		defer unix.Close(fd)
		polls = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for w := p.newWatch(); w.await(ctx); {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its priority
			p.raise()
			done <- p.pump(ctx, polls)
		}()
		p.changed(true)
		err := <-done
		p.changed(false)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pump) changed(busy bool) {
	if p.cfg.OnChange != nil {
		p.cfg.OnChange(busy)
	}
}

// pump has the turn until the node has been idle for a while.
func (p *Pump) pump(ctx context.Context, polls []unix.PollFd) error {
	p.hand(true)
	defer func() {
		p.hand(false)
		p.ready(polls, true) // what came before the others could see it
	}()
	g := p.newGauge()
	for ctx.Err() == nil {
		_, err := unix.Poll(polls, int(p.cfg.Look/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("pump: poll: %w", err)
		}
		if err == nil {
			p.ready(polls, false)
		}
		if g.idle() {
			return nil
		}
	}
	return nil
}

func (p *Pump) ready(polls []unix.PollFd, all bool) {
	for _, first := range []bool{true, false} {
		for i, s := range p.sources {
			if s.First == first && (first || all || polls[i+1].Revents != 0) {
				s.Ready(int(polls[i+1].Fd))
			}
		}
	}
}

func (p *Pump) hand(on bool) {
	for _, s := range p.sources {
		s.Hand(on)
	}
}

// raise lets this thread come before all that is not of real time. Where that is not
// allowed, niceness helps; else the log says that nothing does.
func (p *Pump) raise() {
	real := realTime()
	level, what := slog.LevelInfo, "the token has a real-time thread in busy times"
	if real != nil {
		what = "the token has a thread of raised priority in busy times; a real-time one is not allowed"
		if unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness) != nil {
			level, what = slog.LevelWarn, "the token's thread cannot be raised, and a busy machine will slow it; allow CAP_SYS_NICE"
		}
	}
	if !p.told {
		p.told = true
		p.log.LogAttrs(context.Background(), level, what, slog.Any("err", real))
	}
}

// realTime makes this thread one with a deadline: what it needs of each period is
// its own, more it gets while nobody else of real time wants it. With a mere priority
// it may stand in its own way: coming back from the kernel while Go's collector reads
// its stack, it spins until the collector is done, and keeps it from the core; 64 ms
// were seen under load; on a machine of one core it may be nearly a second, until the
// kernel gives the others their share. A thread with a deadline gives its core away for the rest of the period then. Where all
// deadlines together would be too much for the machine (many nodes on it) or the
// process may not run on all cores, it is the lowest real-time priority.
func realTime() error {
	const share, period = 200 * time.Microsecond, 2 * time.Millisecond
	attr := &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Flags: unix.SCHED_FLAG_RESET_ON_FORK | unix.SCHED_FLAG_RECLAIM,
		Runtime: uint64(share), Deadline: uint64(period), Period: uint64(period),
	}
	if unix.SchedSetAttr(0, attr, 0) == nil {
		return nil
	}
	attr = &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1}
	return unix.SchedSetAttr(0, attr, 0)
}

// niceness where there is no real-time priority.
const niceness = -15

// cpu is what the process has used so far. The call is raw because others wake
// Go's monitor thread, which costs an idle node more than the look itself.
func cpu() time.Duration {
	var ts unix.Timespec
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_PROCESS_CPUTIME_ID, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		return 0 // then only lateness counts
	}
	return time.Duration(ts.Nano())
}
