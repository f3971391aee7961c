package pump

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Where the process may, the thread has a deadline and can be kept from its core by
// nobody that is not of real time; where it may not, it says so and nothing changes.
func TestRealTime(t *testing.T) {
	type result struct {
		was, attr *unix.SchedAttr
		err, real error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its class
		var r result
		var err error
		r.was, err = unix.SchedGetAttr(0, 0)
		r.real = realTime()
		r.attr, r.err = unix.SchedGetAttr(0, 0)
		r.err = errors.Join(err, r.err)
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	switch {
	case r.real == nil && r.attr.Policy != unix.SCHED_DEADLINE && r.attr.Policy != unix.SCHED_RR:
		t.Errorf("the thread is of class %d, and nothing was said", r.attr.Policy)
	case r.real == nil && r.attr.Policy == unix.SCHED_DEADLINE && (r.attr.Runtime == 0 || r.attr.Runtime > r.attr.Period/4):
		t.Errorf("the thread keeps %d of each %d ns for itself", r.attr.Runtime, r.attr.Period)
	case r.real != nil && r.attr.Policy != r.was.Policy:
		t.Errorf("refused (%v), and the thread is of class %d", r.real, r.attr.Policy)
	case r.real != nil && os.Geteuid() == 0:
		t.Logf("root is refused real time here: %v", r.real)
	}
}
