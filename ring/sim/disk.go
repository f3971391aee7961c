package sim

import (
	"slices"

	"rain/ring"
)

// snapshot is what the bulk path carries and a disk keeps: a header and the
// riders' state.
type snapshot struct {
	header ring.SnapshotHeader
	state  state
}

// disk is a node's record as it is on disk, and what waits for a sync.
type disk struct {
	rec     ring.Disk
	state   state // the riders at rec.Header.Index
	queue   []diskOp
	batch   int // so many of the queue are being synced
	writing uint64
	burned  bool
}

// diskOp is a Save with the snapshot it means, or a compaction.
type diskOp struct {
	save    ring.Save
	snap    *snapshot
	compact bool
}

func last(d *ring.Disk) uint64 { return d.Header.Index + uint64(len(d.Entries)) }

// save queues a Save and starts a sync if none runs.
func (c *Cluster) save(n *node, op diskOp) {
	n.disk.queue = append(n.disk.queue, op)
	if n.disk.batch == 0 {
		c.startSync(n)
	}
}

func (c *Cluster) startSync(n *node) {
	d := &n.disk
	if d.batch != 0 || len(d.queue) == 0 || n.hung {
		return
	}
	d.batch = len(d.queue)
	d.writing++
	t := int64(c.opt.MinSync)
	if w := int64(c.opt.MaxSync) - t; w > 0 {
		t += c.rng.Int64N(w)
	}
	if n.slow > c.now {
		t += c.rng.Int64N(int64(50e6))
	}
	fails := c.faults && c.opt.SaveFail > 0 && c.rng.Float64() < c.opt.SaveFail
	c.push(event{at: c.now + t, kind: evDisk, node: n.i, life: n.life, num: d.writing, ok: !fails})
}

// synced is the end of a sync: the platter has it, the process will hear.
func (c *Cluster) synced(n *node, ok bool) {
	d := &n.disk
	ops := d.queue[:d.batch]
	if ok {
		for i := range ops {
			c.apply(n, &ops[i])
		}
		d.queue = slices.Clone(d.queue[d.batch:])
	}
	d.batch = 0
	c.startSync(n)
	for i := range ops {
		if !ops[i].compact && c.err == nil {
			c.dispatch(event{at: c.now, kind: evSaved, node: n.i, life: n.life, num: ops[i].save.Ref, ok: ok})
		}
	}
}

// apply makes one op's change to the record.
func (c *Cluster) apply(n *node, op *diskOp) {
	d := &n.disk
	switch {
	case op.compact:
		h := op.snap.header
		if h.Index <= d.rec.Header.Index || h.Index > last(&d.rec) {
			return
		}
		d.rec.Entries = slices.Clone(d.rec.Entries[h.Index-d.rec.Header.Index:])
		d.rec.Header, d.state = h, op.snap.state
		return
	case op.save.PromiseOnly:
		d.rec.Promise = op.save.Promise
		return
	}
	s := &op.save
	if s.Replace {
		if op.snap == nil || s.Header == nil || s.Header.Index != op.snap.header.Index {
			c.fail(2, "n%d replaces its disk by a snapshot that it does not have", n.i+1)
			return
		}
		d.rec.Header, d.rec.Entries, d.state = *s.Header, nil, op.snap.state
	}
	if s.From <= d.rec.Header.Index && (len(s.Entries) > 0 || s.From != 0) || s.From > last(&d.rec)+1 {
		c.fail(2, "n%d saves entries from %d on a disk that has %d to %d", n.i+1, s.From, d.rec.Header.Index+1, last(&d.rec))
		return
	}
	if s.From != 0 {
		keep := s.From - 1 - d.rec.Header.Index
		d.rec.Entries = append(d.rec.Entries[:keep], s.Entries...) // nobody else has this array
	}
	d.rec.Promise, d.rec.Stamp, d.rec.Stable = s.Promise, s.Stamp, s.Stable
	if d.rec.Stable > last(&d.rec) {
		c.fail(2, "n%d has %d stable on disk, but only %d there", n.i+1, d.rec.Stable, last(&d.rec))
	}
}

// power is a crash as the disk sees it: what was synced is there, and a prefix
// of what was not.
func (d *disk) power(c *Cluster, n *node) {
	k := 0
	if len(d.queue) > 0 && !n.hung {
		k = c.rng.IntN(len(d.queue) + 1)
	}
	for i := range k {
		c.apply(n, &d.queue[i])
	}
	d.queue, d.batch = nil, 0
	d.writing++
}

// compact queues a snapshot of the riders as the new foot of the log, now and
// then, when all that they have is stable.
func (c *Cluster) compact(n *node) {
	if len(n.disk.rec.Entries) < 64 || c.rng.IntN(32) != 0 || n.seen.Delivered != n.seen.Stable {
		return
	}
	h, ok := n.m.Header()
	if !ok || h.Index != n.st.index || h.Index <= n.disk.rec.Header.Index {
		return
	}
	c.Count.Compactions++
	c.save(n, diskOp{compact: true, snap: &snapshot{h, c.capture(n)}})
}
