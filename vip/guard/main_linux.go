package guard

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	msgListen = 1
	msgShut   = 2
	msgHello  = 3
	msgAnswer = 4
	msgEnded  = 5

	msgOpen     = 6
	msgHold     = 7
	msgDrop     = 8
	msgAnnounce = 9

	connFD  = 3 // the guard's end of the socket pair
	leaseFD = 4 // the lease page

	maxHeld    = 4096
	maxMessage = 32 + MaxFrames*(MaxFrame+1)
)

// Main is the guard process. It returns the exit code: 0 once the node is gone.
// args are those after Argument; there are none.
func Main(args []string) int {
	if len(args) != 0 {
		fmt.Fprintln(os.Stderr, "guard: takes no arguments; nodes start it, it is not for people")
		return 2
	}
	// A terminal's or a service manager's signals are for the node; when it ends, so do we.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1) // a pause here is a late end; there is next to no garbage
	debug.SetMemoryLimit(64 << 20)
	runtime.LockOSThread()
	hurry()

	page, err := mapLease(leaseFD, unix.PROT_READ)
	if err != nil {
		fmt.Fprintf(os.Stderr, "guard: no lease page at fd %d; nodes start the guard, it is not for people: %v\n", leaseFD, err)
		return 2
	}
	tfd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		fmt.Fprintf(os.Stderr, "guard: timerfd: %v\n", err)
		return 1
	}
	w := &watch{conn: connFD, timer: tfd, until: cell(page), held: map[uint32]int{}, claims: map[uint32]*claim{}}
	if err := w.run(); err != nil {
		w.end()
		fmt.Fprintf(os.Stderr, "guard: %v\n", err)
		return 1
	}
	return 0
}

// hurry asks the scheduler to run this thread soon after each alarm. All of it
// is nice to have.
func hurry() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -10) // only root may
	// The shortest slice, which anyone may ask for: since Linux 6.12 who wants
	// little at a time is run the sooner for it. Older ones ignore it.
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Runtime: 100_000}
	if prio, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		attr.Nice = int32(20 - prio) // the system call counts from 20 down
	}
	_ = unix.SchedSetAttr(0, &attr, 0)
}

// watch is the guard's only loop; it has one thread.
type watch struct {
	conn, timer int
	until       *atomic.Int64
	held        map[uint32]int // sockets by the node's number for them
	claims      map[uint32]*claim
	net         *network // nil until the node asks for it
	buf         [maxMessage]byte
	oob         [256]byte
}

// run returns nil when the node is gone; then nothing listens any more.
func (w *watch) run() error {
	w.send([]byte{msgHello})
	for {
		if err := w.checkLease(); err != nil {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(w.conn), Events: unix.POLLIN}, {Fd: int32(w.timer), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents == 0 {
			continue
		}
		gone, err := w.receive()
		if gone || err != nil {
			w.end()
			return err
		}
	}
}

// checkLease shuts everything if the lease is over, else does what is due and
// sets the alarm to what comes next. A renewal needs no message: the alarm finds
// it on the page.
func (w *watch) checkLease() error {
	var alarm unix.ItimerSpec // zero: off
	if len(w.held)+len(w.claims) > 0 {
		until := w.until.Load()
		if now() >= until {
			w.ended()
		} else {
			alarm.Value = unix.NsecToTimespec(min(until, w.tend()))
		}
	}
	if err := unix.TimerfdSettime(w.timer, unix.TFD_TIMER_ABSTIME, &alarm, nil); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	return nil
}

// ended shuts all and tells the node. Addresses first: what comes later must get
// no answer from here, not even a reset.
func (w *watch) ended() {
	for id := range w.claims {
		w.withdraw(id)
		w.send(binary.BigEndian.AppendUint32([]byte{msgEnded}, id))
	}
	for id := range w.held {
		w.drop(id)
		w.send(binary.BigEndian.AppendUint32([]byte{msgEnded}, id))
	}
}

// end shuts all. shutdown, not only close: a frozen node has the socket too.
func (w *watch) end() {
	for id := range w.claims {
		w.withdraw(id)
	}
	for id := range w.held {
		w.drop(id)
	}
}

func (w *watch) drop(id uint32) {
	fd, ok := w.held[id]
	if !ok {
		return
	}
	delete(w.held, id)
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // fails only if the node was first
	_ = unix.Close(fd)
}

// send must never wait for a node that does not read. A lost message is found
// out: by the time-out of Listen, or by Accept failing.
func (w *watch) send(b []byte) {
	_ = unix.Sendto(w.conn, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

func (w *watch) receive() (gone bool, err error) {
	n, oobn, flags, _, err := unix.Recvmsg(w.conn, w.buf[:], w.oob[:], unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return false, nil
	case err == unix.ECONNRESET: // it died with our messages unread
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read from the node: %w", err)
	case n == 0:
		return true, nil
	}
	fds, err := passed(w.oob[:oobn])
	b := w.buf[:n]
	switch {
	case err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("message from the node cut short: %v", err)
	case n == 9 && b[0] == msgListen && len(fds) == 1:
		w.listen(binary.BigEndian.Uint32(b[1:]), int(binary.BigEndian.Uint32(b[5:])), fds[0])
		return false, nil
	case n == 5 && b[0] == msgShut && len(fds) == 0:
		w.drop(binary.BigEndian.Uint32(b[1:]))
		return false, nil
	case n >= 5 && b[0] >= msgOpen && b[0] <= msgAnnounce && len(fds) == 0:
		return false, w.address(b)
	default:
		err = fmt.Errorf("unknown message from the node: kind %d, %d bytes; are both of one version?", b[0], n)
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return false, err
}

func passed(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		l, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, l...)
	}
	return fds, nil
}

// listen is called here and not by the node: a node that freezes between its
// look at the lease and its listen would wake up listening.
func (w *watch) listen(id uint32, backlog, fd int) {
	var errno unix.Errno
	_, twice := w.held[id]
	switch {
	case twice || len(w.held) >= maxHeld:
		errno = unix.EINVAL
	case now() >= w.until.Load():
		errno = unix.ETIME
	default:
		if err := unix.Listen(fd, backlog); err != nil {
			errno, _ = err.(unix.Errno)
			if errno == 0 {
				errno = unix.EINVAL
			}
		}
	}
	if errno == 0 {
		w.held[id] = fd
	} else {
		_ = unix.Close(fd)
	}
	w.answer(id, errno)
}

func (w *watch) answer(id uint32, errno unix.Errno) {
	b := binary.BigEndian.AppendUint32([]byte{msgAnswer}, id)
	w.send(binary.BigEndian.AppendUint32(b, uint32(errno)))
}
