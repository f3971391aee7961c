package viewer

import (
	"context"
	"errors"
	"io"
	"time"
)

// Pace watches what r gives as a film of rate bytes a second, and reads no more
// than ahead of it beforehand. It ends with r; an error is r's own.
func Pace(ctx context.Context, r io.Reader, name string, rate int64, ahead time.Duration) (Report, error) {
	start := time.Now()
	rep := Report{Film: name, Started: start.UTC()}
	var p Playback
	buf := make([]byte, 16<<10)
	var err error
	for err == nil && ctx.Err() == nil {
		if wait := p.Ahead(time.Since(start)) - ahead; wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		asked := time.Now()
		var n int
		n, err = r.Read(buf)
		if n > 0 {
			rep.Requests++
			if p.began {
				rep.Slowest = max(rep.Slowest, ms(time.Since(asked)))
			}
			p.Arrived(time.Since(start), time.Duration(int64(n)*int64(time.Second)/rate))
		}
	}
	rep.fill(&p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return rep, err
}
