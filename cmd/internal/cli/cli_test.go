package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"rain/conf"
	"rain/ring"
	"rain/ring/host/disk"
)

func TestClassify(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, listenErr := net.Listen("tcp", taken.Addr().String())

	for _, c := range []struct {
		err  error
		exit Exit
		code string
	}{
		{errors.New("x"), 1, "failed"},
		{New(Usage, "", "", "bad flag"), 2, "usage"},
		{fmt.Errorf("run: %w", conf.Problems{{File: "f", Line: 3, What: "x"}}), 3, "bad_config"},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, 4, "not_found"},
		{fmt.Errorf("put: %w", ring.ErrNotPrimary), 5, "no_quorum"},
		{fmt.Errorf("put: %w", ring.ErrOutcomeUnknown), 5, "outcome_unknown"},
		{fmt.Errorf("put: %w", context.DeadlineExceeded), 5, "timeout"},
		{New(Conflict, "exists", "", "it is there"), 6, "exists"},
		{New(Denied, "", "", "no"), 7, "not_authorised"},
		{fmt.Errorf("node: %w", listenErr), 8, "in_use"},
		{fmt.Errorf("node: %w", &disk.InUseError{Dir: "d", PID: 7}), 8, "in_use"},
		{fmt.Errorf("node: %w", &disk.OtherNodeError{Dir: "d"}), 3, "other_node"},
		{fmt.Errorf("node: %w", &disk.CorruptError{Dir: "d"}), 1, "corrupt"},
		{fmt.Errorf("store: %w", syscall.ENOSPC), 9, "no_space"},
	} {
		e := Classify(c.err)
		if e.Exit != c.exit || e.Code != c.code {
			t.Errorf("Classify(%v) = %d %q, want %d %q", c.err, e.Exit, e.Code, c.exit, c.code)
		}
		if e.Error() != c.err.Error() {
			t.Errorf("Classify changes the text %q to %q", c.err, e)
		}
	}
	if Classify(nil) != nil {
		t.Error("Classify(nil) is an error")
	}
}

func TestReport(t *testing.T) {
	var out, errs bytes.Buffer
	err := fmt.Errorf("outer: %w", New(Unavailable, "no_quorum", "wait", "2 of 5 nodes"))
	if got := Report(err, true, "p", &out, &errs); got != 5 || errs.Len() != 0 {
		t.Errorf("Report = %d, stderr %q", got, &errs)
	}
	var a map[string]any
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	want := `{"api":1,"error":{"code":"no_quorum","text":"outer: 2 of 5 nodes","hint":"wait"}}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", &out, want)
	}

	out.Reset()
	if got := Report(err, false, "p", &out, &errs); got != 5 || out.Len() != 0 {
		t.Errorf("Report = %d, stdout %q", got, &out)
	}
	if errs.String() != "p: outer: 2 of 5 nodes\np: hint: wait\n" {
		t.Errorf("stderr %q", &errs)
	}
	if Report(nil, true, "p", &out, &errs) != 0 || out.Len() != 0 {
		t.Error("success prints something")
	}
}

func TestVersion(t *testing.T) {
	v := BuildVersion("snow")
	if v.API != 1 || v.Program != "snow" || v.Version == "" || !strings.HasPrefix(v.Go, "go1") {
		t.Errorf("%+v", v)
	}
	if !strings.HasPrefix(v.String(), "snow "+v.Version) {
		t.Errorf("%q", v)
	}
}
