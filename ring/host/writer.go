package host

import (
	"log/slog"
	"sync"
	"time"

	"rain/ring"
)

// writer brings Saves to the disk, in order, several in one sync.
type writer struct {
	n    *Node
	mu   sync.Mutex
	jobs []any // ring.Save or compaction
	sig  chan struct{}
	stop chan struct{}
	wg   sync.WaitGroup
}

// compaction is a snapshot of the riders that is to become the log's base.
type compaction struct {
	header ring.SnapshotHeader
	data   []byte
}

func (n *Node) startWriter() {
	w := &writer{n: n, sig: make(chan struct{}, 1), stop: make(chan struct{})}
	n.writer = w
	n.settling = false
	w.wg.Go(w.run)
}

// stopWriter ends the writer; what it has not written is dropped, as a crash
// would drop it.
func (n *Node) stopWriter() {
	if n.writer == nil {
		return
	}
	close(n.writer.stop)
	n.writer.wg.Wait()
	n.writer = nil
}

func (w *writer) put(job any) {
	w.mu.Lock()
	w.jobs = append(w.jobs, job)
	w.mu.Unlock()
	select {
	case w.sig <- struct{}{}:
	default:
	}
}

// take returns the Saves up to the next compaction, or that compaction.
func (w *writer) take() (saves []ring.Save, c *compaction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, job := range w.jobs {
		if job, ok := job.(compaction); ok {
			if i == 0 {
				w.jobs = w.jobs[1:]
				return nil, &job
			}
			break
		}
		saves = append(saves, job.(ring.Save))
	}
	w.jobs = w.jobs[len(saves):]
	return saves, nil
}

func (w *writer) run() {
	for {
		select {
		case <-w.stop:
			return
		case <-w.sig:
		}
		for {
			saves, c := w.take()
			if c != nil {
				w.compact(*c)
				continue
			}
			if len(saves) == 0 {
				break
			}
			if !w.apply(saves) {
				return
			}
		}
	}
}

// apply writes until it succeeds; false: the writer is to stop.
func (w *writer) apply(saves []ring.Save) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := w.n.disk.Apply(saves)
		if err == nil {
			break
		}
		text := err.Error()
		if w.n.diskErr.Swap(&text) == nil {
			w.n.log.Error("the ring's log cannot be written; trying again", slog.Any("err", err))
		}
		w.n.mail.put(ring.SaveFailed{Ref: saves[len(saves)-1].Ref})
		select {
		case <-w.stop:
			return false
		case <-time.After(wait):
		}
	}
	w.n.diskErr.Store(nil)
	for _, s := range saves {
		w.n.mail.put(savedBy{w, s.Ref})
	}
	if w.n.disk.LogLen() > compactOps || w.n.disk.LogBytes() > compactBytes {
		w.n.mail.put(func() { w.n.wantCompaction(w) })
	}
	return true
}

// savedBy is a Saved of one writer: one that was stopped speaks for a machine
// that is no more.
type savedBy struct {
	w   *writer
	ref uint64
}

// The log on disk is folded into a snapshot above these.
const (
	compactOps   = 8192
	compactBytes = 8 << 20
)

// wantCompaction takes the riders' snapshot in the loop; the writer stores it.
func (n *Node) wantCompaction(w *writer) {
	if n.writer != w || n.m == nil || n.settling {
		return
	}
	header, ok := n.m.Header()
	if !ok {
		return
	}
	data, err := n.snapshot()
	if err != nil {
		n.log.Error("riders' snapshot", slog.Any("err", err))
		return
	}
	n.settling = true
	w.put(compaction{header: header, data: data})
}

func (w *writer) compact(c compaction) {
	defer w.n.mail.put(func() { w.n.settling = false })
	s, err := w.n.disk.NewSnapshot()
	if err == nil {
		if _, err = s.Write(c.data); err != nil {
			s.Abort()
		} else {
			err = w.n.disk.Compact(s, c.header)
		}
	}
	if err != nil {
		w.n.log.Error("folding the log into a snapshot; the log stays", slog.Any("err", err))
	}
}
