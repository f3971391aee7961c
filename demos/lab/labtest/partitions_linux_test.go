package labtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rain/demos/lab/engine"
)

// oneViewWithin is how long after a partition has healed all nodes may take to be in
// one view again: those that were outside hear of it, fetch what they missed and are
// let in one by one; on a busy machine some of it twice.
const oneViewWithin = 10 * time.Second

// orders tells the laboratory what to break without a program for each order, and
// fails if it cannot.
func (l *lab) orders() func(verb string, o engine.Order) {
	tell := l.teller()
	return func(verb string, o engine.Order) {
		l.t.Helper()
		if err := tell(verb, o); err != nil {
			l.t.Fatal(err)
		}
	}
}

// teller is orders with the error for the caller.
func (l *lab) teller() func(verb string, o engine.Order) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", engine.Socket(l.dir))
		},
	}}
	l.t.Cleanup(client.CloseIdleConnections)
	return func(verb string, o engine.Order) error {
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		resp, err := client.Post("http://lab/"+verb, "application/json", bytes.NewReader(b))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // all of it is read
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("lab %s %+v: %s: %s", verb, o, resp.Status, text)
		}
		return err
	}
}

// split lets nobody hear who is in another part; oneWay: only the first part does
// not hear the others.
func split(order func(string, engine.Order), parts [][]string, oneWay bool) {
	for i, part := range parts {
		for _, other := range parts[i+1:] {
			for _, a := range part {
				for _, b := range other {
					order("cut", engine.Order{Name: b + "-" + a, OneWay: oneWay})
				}
			}
		}
	}
}

// TestPartitions: four nodes in two, in three and one, in three parts, and back;
// and parts that are heard but do not hear. At most one part acts, and its leases
// alone run; nobody has an address twice; when all has healed they are one view.
func TestPartitions(t *testing.T) {
	const vips = 4
	l := up(t, "../small.toml", withVIPs(vips))
	order, r := l.orders(), l.judge(vips)
	n := l.listen(r.vips)
	var worst time.Duration
	for _, c := range []struct {
		parts  string
		oneWay bool
		hold   time.Duration
	}{
		{"n1 n2|n3 n4", false, time.Second}, {"n3 n4|n1 n2", true, time.Second}, {"n1 n4|n2 n3", false, time.Second},
		{"n1 n2 n3|n4", false, time.Second}, {"n2 n3 n4|n1", false, time.Second}, {"n1|n2 n3 n4", true, time.Second}, {"n2 n3 n4|n1", true, time.Second},
		{"n1 n2|n3|n4", false, time.Second}, {"n3 n4|n1|n2", false, time.Second}, {"n2 n4|n1|n3", true, time.Second},
		{"n1 n3|n2 n4", false, 12 * time.Second}, // until those outside begin anew, and their disks ask
	} {
		var parts [][]string
		for p := range strings.SplitSeq(c.parts, "|") {
			parts = append(parts, strings.Fields(p))
		}
		split(order, parts, c.oneWay)
		cut := time.Now()
		time.Sleep(c.hold)
		what := fmt.Sprintf("%s (one way: %v)", c.parts, c.oneWay)
		l.onePart(what, parts, r.ends(), cut, !c.oneWay)
		order("heal", engine.Order{})
		healed := time.Now()
		l.until("one view of all after "+what, oneViewWithin, func() bool { return l.agree(l.nodes) })
		took := time.Since(healed)
		worst = max(worst, took)
		t.Logf("%s: one view %v after the heal", what, took.Round(10*time.Millisecond))
	}
	t.Logf("worst: %v", worst.Round(10*time.Millisecond))
	r.clean(t)
	n.clean(t, 0)
}

// onePart fails if the leases of two parts run, or if none does though one part has
// more than half of the nodes. A part that does not hear the other, but is heard,
// may have a quorum by turns; that is looked at only for what must not be.
func (l *lab) onePart(what string, parts [][]string, ends map[string]time.Duration, cut time.Time, both bool) {
	l.t.Helper()
	var act []string
	for _, part := range parts {
		if slices.ContainsFunc(part, func(n string) bool { return ends[n] > 0 }) {
			act = append(act, strings.Join(part, " "))
		}
	}
	if both && len(act) > 1 {
		l.t.Errorf("%s: %v after the cut the leases of %v run: %v", what, time.Since(cut), act, ends)
	}
	most := 0
	for _, part := range parts {
		most = max(most, len(part))
	}
	if both && 2*most > len(l.nodes) && len(act) == 0 {
		l.t.Errorf("%s: %v after the cut no lease runs: %v", what, time.Since(cut), ends)
	}
}
