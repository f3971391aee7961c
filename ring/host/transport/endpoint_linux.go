package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// endpoint is a UDP socket that Go's network poller does not know. The poller asks
// the kernel to tell when a socket can be written to, too, and that is so each time
// a datagram has left: of the wake-ups of an idle node two in five were for that.
// This package never waits to write.
type endpoint struct {
	file *os.File
	raw  syscall.RawConn
}

// detach makes an endpoint of a socket, which is closed either way.
func detach(conn *net.UDPConn) (*endpoint, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	fd := -1
	if e := raw.Control(func(d uintptr) {
		// A copy: the socket lives on when package net has closed its own.
		if fd, err = unix.FcntlInt(d, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false) // else os.NewFile tells the poller
		}
	}); e != nil {
		err = e
	}
	if e := conn.Close(); err == nil {
		err = e
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd) // ours alone
		}
		return nil, fmt.Errorf("copying a descriptor: %w; raise the limit of open files", err)
	}
	e := &endpoint{file: os.NewFile(uintptr(fd), "udp")}
	if e.raw, err = e.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close frees the socket. Who waits for a datagram waits on: see reader.close.
func (e *endpoint) Close() error { return e.file.Close() }

// watch is an epoll instance that becomes readable when a datagram is there. The
// poller can wait for it.
func (e *endpoint) watch() (*os.File, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w; raise the limit of open files", err)
	}
	if ec := e.raw.Control(func(fd uintptr) {
		err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN})
	}); ec != nil {
		err = ec
	}
	if err == nil {
		err = unix.SetNonblock(poll, true) // so that os.NewFile tells the poller
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(poll))
	}
	return os.NewFile(uintptr(poll), "epoll"), nil
}
