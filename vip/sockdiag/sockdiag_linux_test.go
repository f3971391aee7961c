package sockdiag

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each connection is seen as what it is, and none of another port.
func TestConnections(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Skipf("no %s here: %v", at, err)
		}
		defer ln.Close()
		other, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		local := ln.Addr().(*net.TCPAddr).AddrPort()
		for _, to := range []net.Listener{other, ln} {
			c, err := net.Dial("tcp", to.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte("12345")); err != nil {
				t.Fatal(err)
			}
			if to == ln {
				want := Socket{State: Established, Peer: c.LocalAddr().(*net.TCPAddr).AddrPort(), RQueue: 5, Info: true}
				for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
					got, err := Connections(local, Established, CloseWait)
					if err != nil {
						t.Fatal(err)
					}
					if len(got) == 1 {
						got[0].SinceSent, got[0].SinceRecv = 0, 0
						if got[0] == want {
							break
						}
					}
					if time.Now().After(end) {
						t.Fatalf("%+v, want %+v", got, want)
					}
				}
			}
		}
		if got, err := Connections(local, SynRecv, FinWait1); len(got) > 0 || err != nil {
			t.Errorf("in other states: %+v, %v", got, err)
		}
	}
}

// A handshake whose last packet is missing is seen, under its peer's port.
func TestHandshake(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	local := ln.Addr().(*net.TCPAddr).AddrPort()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deaf := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &deaf[0]}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: local.Addr().As4(), Port: int(local.Port())}); err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := Connections(local, SynRecv)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 {
			self, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			if s := got[0]; s.State != SynRecv || s.Info || int(s.Peer.Port()) != self.(*unix.SockaddrInet4).Port {
				t.Errorf("%+v of %+v", s, self)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, want one handshake", got)
		}
	}
}

func FuzzParse(f *testing.F) {
	local := netip.MustParseAddrPort("127.0.0.1:80")
	f.Add(request(local, []State{Established}))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, done, err := parse(nil, b, local)
		if len(out) > len(b)/messageLen || done && err != nil {
			t.Fatalf("%d connections in %d bytes, done %v, %v", len(out), len(b), done, err)
		}
	})
}

func BenchmarkConnections(b *testing.B) {
	local := netip.MustParseAddrPort("127.0.0.1:1")
	for b.Loop() {
		if _, err := Connections(local, SynRecv); err != nil {
			b.Fatal(err)
		}
	}
}
