package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"rain/snow/admin"
)

// shownStreams bounds the table for people; --json has them all.
const shownStreams = 10

// showStreams lists the newest streams.
func showStreams(w io.Writer, st admin.Status, now time.Time) {
	list := st.Streams
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTREAM\tFILM\tNODE\tAT\tSENT\tRATE\tCLIENT\tMOVES\tSINCE")
	more := max(0, len(list)-shownStreams)
	for _, s := range list[more:] {
		at := time.Duration(s.PositionS * float64(time.Second)).Truncate(time.Second)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.1f Mbit/s\t%s\t%d\t%s\n", safe(s.Session), safe(s.Film), safe(s.Node), at, size(s.SentBytes),
			float64(s.BitsPerS)/1e6, safe(s.Client), s.Moves, ago(now, s.Since))
	}
	_ = t.Flush() // w is a buffer
	if more > 0 {
		fmt.Fprintf(w, "and %d older streams; --json lists them\n", more)
	}
}
