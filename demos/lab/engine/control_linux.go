package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"rain/demos/lab/fabric"
)

// Order is what a caller asks for; which fields count depends on the verb.
type Order struct {
	Name   string  `json:"name"`
	OneWay bool    `json:"one_way"`
	Value  float64 `json:"value"` // per cent, or milliseconds, or bytes a second, or bytes
	Path   string  `json:"path"`
}

// HostStatus tells of a host.
type HostStatus struct {
	Name  string   `json:"name"`
	State string   `json:"state"` // running, frozen, crashed, down, idle (no node)
	PID   int      `json:"pid"`   // within the laboratory
	Ports []string `json:"ports"`
	Addrs []string `json:"addrs"`
}

// Status is the whole laboratory.
type Status struct {
	API      int                   `json:"api"`
	Name     string                `json:"name"`
	Dir      string                `json:"dir"`
	Cluster  ClusterFile           `json:"cluster"`
	Hosts    []HostStatus          `json:"hosts"`
	Switches []fabric.SwitchStatus `json:"switches"`
	Links    []fabric.LinkStatus   `json:"links"`
	Claims   []Claim               `json:"claims"` // who answered for which VIP, when
	Deaf     [][2]string           `json:"deaf"`   // hosts of which the second does not hear the first
}

// Socket is where a laboratory in dir listens; NamespaceSocket hands out the
// namespaces of its hosts.
func Socket(dir string) string { return filepath.Join(dir, "lab.sock") }

// NamespaceSocket is where a host's namespace can be had.
func NamespaceSocket(dir string) string { return filepath.Join(dir, "ns.sock") }

// Status tells how everything is.
func (l *Lab) Status() Status {
	st := Status{API: 1, Name: l.cfg.Plan.Name, Dir: l.cfg.Dir, Cluster: l.cluster, Claims: l.watch.all()}
	l.mu.Lock()
	for _, h := range l.hosts {
		hs := HostStatus{Name: h.plan.Name, State: h.state}
		if h.proc != nil {
			hs.PID = h.proc.PID
			select {
			case <-h.proc.Done():
				if hs.State == "running" {
					hs.State = fmt.Sprintf("ended with %d", h.proc.Status().ExitStatus())
				}
			default:
			}
		}
		for _, p := range h.plan.Ports {
			hs.Ports = append(hs.Ports, p.Cable)
			hs.Addrs = append(hs.Addrs, p.IPv4.Addr().String())
		}
		st.Hosts = append(st.Hosts, hs)
	}
	st.Deaf = append([][2]string{}, l.deaf...)
	l.mu.Unlock()
	l.pump.mu.Lock()
	st.Switches, st.Links = l.pump.net.Status()
	l.pump.mu.Unlock()
	return st
}

// Serve does what callers on the Unix sockets ask for until ctx ends or somebody
// asks for the end. The sockets are the owner's alone.
func (l *Lab) Serve(ctx context.Context) error {
	old := unix.Umask(0o077)
	control, err := net.Listen("unix", Socket(l.cfg.Dir))
	spaces, err2 := net.ListenUnix("unix", &net.UnixAddr{Name: NamespaceSocket(l.cfg.Dir), Net: "unix"})
	unix.Umask(old)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	ctx, down := context.WithCancel(ctx)
	defer down()
	server := &http.Server{Handler: l.handler(down), ReadHeaderTimeout: 5 * time.Second}
	l.workers.Go(func() { l.serveNamespaces(spaces) })
	l.workers.Go(func() {
		<-ctx.Done()
		bye, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(bye), spaces.Close()); err != nil {
			l.log.Warn("closing the sockets", slog.Any("err", err))
		}
	})
	if err := server.Serve(control); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (l *Lab) handler(down func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, l.Status()) })
	mux.HandleFunc("POST /{verb}", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
			http.Error(w, "lab: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := l.do(r.PathValue("verb"), o, down); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		l.log.Info("done", slog.String("verb", r.PathValue("verb")), slog.Any("order", o))
		answer(w, map[string]int{"api": 1})
	})
	return mux
}

func (l *Lab) do(verb string, o Order, down func()) error {
	switch verb {
	case "crash", "freeze", "thaw", "start", "stop":
		return l.Node(verb, o.Name)
	case "cut":
		if l.Pair(o.Name, o.OneWay, true) {
			return nil
		}
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Cut = true })
	case "heal":
		if o.Name == "" {
			return l.Heal()
		}
		if l.Pair(o.Name, o.OneWay, false) {
			return nil
		}
		return l.Mend(o.Name, o.OneWay)
	case "drop":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Loss = o.Value / 100 })
	case "double":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Double = o.Value / 100 })
	case "late":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Late, i.LateBy = o.Value/100, 2*time.Millisecond })
	case "delay":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Delay = time.Duration(o.Value * float64(time.Millisecond)) })
	case "rate":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.Rate = int64(o.Value) })
	case "mtu":
		return l.Change(o.Name, o.OneWay, func(i *fabric.Impairment) { i.MTU = int(o.Value) })
	case "capture":
		return l.Capture(o.Name, o.Path)
	case "down":
		down()
		return nil
	}
	return fmt.Errorf("lab: no verb %q", verb)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a caller that went away is its own affair
}

// serveNamespaces hands the namespace of a host to who asks with its name.
func (l *Lab) serveNamespaces(ln *net.UnixListener) {
	for {
		c, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		if err := l.handOver(c); err != nil {
			l.log.Warn("handing out a namespace", slog.Any("err", err))
		}
		_ = c.Close() // said or not, it is over
	}
}

func (l *Lab) handOver(c *net.UnixConn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	h, err := l.host(string(buf[:n]))
	if err != nil {
		_, err2 := c.Write([]byte(err.Error()))
		return errors.Join(err, err2)
	}
	_, _, err = c.WriteMsgUnix([]byte("ok"), unix.UnixRights(int(h.box.Namespace().Fd())), nil)
	return err
}

// Namespace fetches the namespace of a host of the laboratory in dir.
func Namespace(dir, hostName string) (*os.File, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: NamespaceSocket(dir), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("lab: is a laboratory up in %s? %w", dir, err)
	}
	defer func() { _ = c.Close() }() // all was read
	if _, err := c.Write([]byte(hostName)); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	buf, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	n, on, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(msgs) != 1 {
		return nil, errors.New(string(buf[:n]))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("lab: no namespace came: %w", err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "netns-"+hostName), nil
}
