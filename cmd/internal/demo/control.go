package demo

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"rain/cmd/internal/cli"
)

// serveControl serves the control address until ctx is done.
//
//	POST /nodes/NAME/crash|freeze|thaw|stop|start   {"api":1,"node":{...}}, 404, 409
//	GET  /demo.json                                 what the file holds
//
// Both want the bearer token: whoever has it can kill the demo's nodes.
func (d *demo) serveControl(ctx context.Context, ln net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /nodes/{name}/{verb}", d.command)
	mux.HandleFunc("GET /demo.json", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, d.describe()) })
	srv := &http.Server{
		Handler:           d.forPages(d.authorised(mux)),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       log.New(d.o.Stderr, "demo: control: ", 0),
	}
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(quiet) != nil {
			srv.Close()
		}
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintf(d.o.Stderr, "demo: control address: %v\n", err)
	}
	<-ctx.Done()
	<-stopped
}

func (d *demo) authorised(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + d.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="rain"`)
			refuse(w, http.StatusUnauthorized, cli.New(cli.Denied, "", "send 'Authorization: Bearer TOKEN' with the token of demo.json", "not authorised"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// command does one verb to one node.
func (d *demo) command(w http.ResponseWriter, r *http.Request) {
	name, verb := r.PathValue("name"), r.PathValue("verb")
	for _, p := range d.procs {
		if p.addrs.name != name {
			continue
		}
		var err error
		if verb == "start" {
			err = p.start()
		} else {
			err = p.command(verb)
		}
		if err != nil {
			code := http.StatusInternalServerError
			switch cli.Classify(err).Exit {
			case cli.Conflict:
				code = http.StatusConflict
			case cli.NotFound:
				code = http.StatusNotFound
			}
			refuse(w, code, err)
			return
		}
		reply(w, http.StatusOK, map[string]any{"api": cli.API, "node": p.info()})
		return
	}
	refuse(w, http.StatusNotFound, cli.New(cli.NotFound, "", "one of n1 to n"+strings.TrimPrefix(d.procs[len(d.procs)-1].addrs.name, "n"), "no node %q", name))
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = cli.PrintJSON(w, v) // a client that left needs no answer
}

// refuse answers with the error's JSON.
func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	cli.Report(err, true, "demo", w, w)
}
