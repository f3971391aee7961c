// Package cli is what all programs have in common at their edge: the exit
// codes, how an error becomes one of them and is printed, and the version.
//
// This is the one place that turns errors into exit codes. A package that wants
// a code for its error returns an *Error, or one of the sentinels that Classify
// knows; everything else is Failed.
//
// Results go to stdout, all else to stderr. With --json a failure prints
// {"api":1,"error":{"code":...,"text":...,"hint":...}} on stdout.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"rain/conf"
	"rain/ring"
	"rain/ring/host/disk"
)

// API is the version that every JSON answer carries.
const API = 1

// Exit is a program's exit code. Scripts depend on the numbers.
type Exit int

// The exit codes of all programs.
const (
	OK          Exit = 0
	Failed      Exit = 1 // none of the others
	Usage       Exit = 2 // wrong flags or arguments
	BadInput    Exit = 3 // bad config or input
	NotFound    Exit = 4
	Unavailable Exit = 5 // no quorum, isolated, too few symbols, nobody in reach, time-out: try again
	Conflict    Exit = 6 // or a precondition that does not hold
	Denied      Exit = 7 // not authorised
	InUse       Exit = 8 // address, port or data folder
	NoSpace     Exit = 9
)

// ExitTable is the part of each help text that explains the codes.
const ExitTable = `Exit codes: 0 done; 1 failed; 2 wrong usage; 3 bad config or input; 4 not found;
5 unavailable, try again; 6 conflict or precondition; 7 not authorised;
8 address, port or data folder in use; 9 no space.`

// code is the word for e where an error has no better one.
func (e Exit) code() string {
	switch e {
	case Usage:
		return "usage"
	case BadInput:
		return "bad_input"
	case NotFound:
		return "not_found"
	case Unavailable:
		return "unavailable"
	case Conflict:
		return "conflict"
	case Denied:
		return "not_authorised"
	case InUse:
		return "in_use"
	case NoSpace:
		return "no_space"
	default:
		return "failed"
	}
}

// Error is an error with its exit code and what to say about it.
type Error struct {
	Exit   Exit
	Code   string          // one word for scripts, such as no_quorum; empty: that of Exit
	Hint   string          // what to do; may be empty
	Faults []conf.Problem  // of a config file
	Extra  json.RawMessage // of a remote answer; printed as "detail"
	Err    error           // what happened; never nil
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// New makes an error with an exit code, a word for scripts and a hint.
func New(exit Exit, code, hint, format string, args ...any) *Error {
	return &Error{Exit: exit, Code: code, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Classify finds the exit code of an error. It returns nil for nil.
func Classify(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		out := *e
		if out.Code == "" {
			out.Code = out.Exit.code()
		}
		out.Err = err // with all that was wrapped around it
		return &out
	}
	if p, ok := errors.AsType[conf.Problems](err); ok {
		return &Error{Exit: BadInput, Code: "bad_config", Hint: "mend the file and look at it with 'check FILE'", Faults: p, Err: err}
	}
	// The texts of the disk's errors say what to do.
	if _, ok := errors.AsType[*disk.InUseError](err); ok {
		return &Error{Exit: InUse, Code: "in_use", Err: err}
	}
	if _, ok := errors.AsType[*disk.OtherNodeError](err); ok {
		return &Error{Exit: BadInput, Code: "other_node", Err: err}
	}
	if _, ok := errors.AsType[*disk.CorruptError](err); ok {
		return &Error{Exit: Failed, Code: "corrupt", Err: err}
	}
	for _, c := range []struct {
		is   error
		exit Exit
		code string
		hint string
	}{
		{ring.ErrNotPrimary, Unavailable, "no_quorum", "see 'rainctl status' for who is missing"},
		{ring.ErrOutcomeUnknown, Unavailable, "outcome_unknown", "look whether it happened before you try again"},
		{context.DeadlineExceeded, Unavailable, "timeout", "try again, or raise --timeout"},
		{os.ErrDeadlineExceeded, Unavailable, "timeout", "try again, or raise --timeout"},
		{syscall.EADDRINUSE, InUse, "in_use", "another process has the address: stop that one, or choose another"},
		{addrInUse, InUse, "in_use", "another process has the address: stop that one, or choose another"},
		{syscall.ENOSPC, NoSpace, "no_space", "free some disk space"},
		{diskFull, NoSpace, "no_space", "free some disk space"},
		{fs.ErrNotExist, NotFound, "not_found", ""},
	} {
		if errors.Is(err, c.is) {
			return &Error{Exit: c.exit, Code: c.code, Hint: c.hint, Err: err}
		}
	}
	return &Error{Exit: Failed, Code: "failed", Err: err}
}

// answer is the JSON of a failure.
type answer struct {
	API   int `json:"api"`
	Error struct {
		Code   string          `json:"code"`
		Text   string          `json:"text"`
		Hint   string          `json:"hint"`
		Faults []conf.Problem  `json:"faults,omitempty"`
		Detail json.RawMessage `json:"detail,omitempty"`
	} `json:"error"`
}

// Report prints err, if there is one, and returns the program's exit code.
func Report(err error, asJSON bool, program string, stdout, stderr io.Writer) int {
	e := Classify(err)
	if e == nil {
		return int(OK)
	}
	if asJSON {
		a := answer{API: API}
		a.Error.Code, a.Error.Text, a.Error.Hint = e.Code, e.Err.Error(), e.Hint
		a.Error.Faults, a.Error.Detail = e.Faults, e.Extra
		if PrintJSON(stdout, a) == nil {
			return int(e.Exit)
		}
	}
	if len(e.Faults) > 0 {
		fmt.Fprintln(stderr, e.Err) // each line begins with its file already
	} else {
		fmt.Fprintf(stderr, "%s: %v\n", program, e.Err)
	}
	if e.Hint != "" {
		fmt.Fprintf(stderr, "%s: hint: %s\n", program, e.Hint)
	}
	return int(e.Exit)
}

// PrintJSON writes v on one line.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("cli: print: %w", err)
	}
	return nil
}
