package ring

import (
	"fmt"
	"strings"
)

// TraceKind names what happened; its value is the constant text of the event.
type TraceKind string

// What a machine tells of itself.
const (
	TraceAccept      TraceKind = "accept token"
	TracePass        TraceKind = "pass token"
	TraceRefuse      TraceKind = "refuse token"
	TraceRefused     TraceKind = "token was refused"
	TraceSendFailed  TraceKind = "token send failed"
	TraceStarve      TraceKind = "starving"
	TraceCall        TraceKind = "call 911"
	TraceGrant       TraceKind = "grant 911"
	TraceDeny        TraceKind = "deny 911"
	TraceDenied      TraceKind = "911 was denied"
	TraceMake        TraceKind = "make token"
	TraceDoubt       TraceKind = "doubt"
	TraceSuspect     TraceKind = "suspect"
	TraceClear       TraceKind = "clear suspicion"
	TraceView        TraceKind = "append view"
	TraceSettled     TraceKind = "view settled"
	TraceSeek        TraceKind = "seek a primary"
	TraceWelcome     TraceKind = "found a primary"
	TraceAdopt       TraceKind = "adopt snapshot"
	TraceMember      TraceKind = "member"
	TraceOut         TraceKind = "left out"
	TraceRejoin      TraceKind = "new incarnation"
	TraceColdCall    TraceKind = "call cold start"
	TraceColdGrant   TraceKind = "grant cold start"
	TraceColdDeny    TraceKind = "deny cold start"
	TraceColdMade    TraceKind = "make cold view"
	TraceColdGiveUp  TraceKind = "give up cold start"
	TraceOtherLease  TraceKind = "another lease"
	TraceLeft        TraceKind = "left the ring"
	TraceIsolated    TraceKind = "isolated"
	TraceCutOps      TraceKind = "cut ops"
	TraceCheckFailed TraceKind = "check failed"
	TraceAskWitness  TraceKind = "ask the witness"
	TraceWitness     TraceKind = "witness names"
)

// Trace is one thing that happened in a machine. Fields that say nothing are
// zero.
type Trace struct {
	Kind  TraceKind
	Peer  Member
	Stamp Stamp  // of a token or copy
	Epoch Epoch  // promised, asked for or made
	View  uint64 // a view's number
	Num   int64  // index, count or nanoseconds, as the kind says
	Text  string // rare: more for people
}

func (t Trace) String() string {
	var b strings.Builder
	b.WriteString(string(t.Kind))
	if t.Peer != (Member{}) {
		fmt.Fprintf(&b, " peer=%s", t.Peer)
	}
	if t.Stamp != (Stamp{}) {
		fmt.Fprintf(&b, " token=%s", t.Stamp)
	}
	if t.Epoch != 0 {
		fmt.Fprintf(&b, " epoch=%s", t.Epoch)
	}
	if t.View != 0 {
		fmt.Fprintf(&b, " view=%d", t.View)
	}
	if t.Num != 0 {
		fmt.Fprintf(&b, " n=%d", t.Num)
	}
	if t.Text != "" {
		fmt.Fprintf(&b, " %s", t.Text)
	}
	return b.String()
}
