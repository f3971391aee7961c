package catalog

import (
	"encoding/binary"
	"io"
	"slices"
	"sync/atomic"

	"github.com/tidwall/btree"

	"rain/ring"
)

// Change tells that a body became needed, or that no object has it any more.
type Change struct {
	Reset  bool    // the whole table was replaced: look at the view
	Rec    *Record // an object's that has, or had, the body
	Needed bool
	// Moved says that a column of the body lies on another node: first the
	// record as it was is not needed any more, then the new one is.
	Moved bool
}

// Table is the catalog of one member. Apply, View, Snapshot and Restore are
// called from one goroutine; Now may be called by any.
type Table struct {
	// live holds the trees that Apply changes; the others are what views are
	// copied from.
	live    map[string]*btree.Map[string, *Record]
	buckets *btree.Map[string, *bucket]
	bodies  *btree.Map[string, Body]
	layouts *btree.Map[string, Spread]
	owners  *btree.Map[string, struct{}] // of striped bodies, by ownerKey
	layout  *Layout
	wholes  int
	objects int
	size    int64
	stored  int64

	now    atomic.Pointer[View]
	notify func(Change)
}

var _ ring.Rider = (*Table)(nil)

// New returns an empty table. notify, if not nil, is called for each change of
// bodies after the view that shows it is out, on Apply's goroutine: it must not
// block.
func New(notify func(Change)) *Table {
	t := &Table{notify: notify}
	t.clear()
	t.publish()
	return t
}

func (t *Table) clear() {
	t.live = map[string]*btree.Map[string, *Record]{}
	t.buckets = btree.NewMap[string, *bucket](0)
	t.bodies = btree.NewMap[string, Body](0)
	t.layouts = btree.NewMap[string, Spread](0)
	t.owners = btree.NewMap[string, struct{}](0)
	t.layout = nil
	t.objects, t.size, t.stored, t.wholes = 0, 0, 0, 0
}

// Now is the table as of the last op.
func (t *Table) Now() *View { return t.now.Load() }

func (t *Table) publish() {
	t.now.Store(&View{
		buckets: t.buckets.Copy(), bodies: t.bodies.Copy(), layouts: t.layouts.Copy(),
		layout: t.layout, objects: t.objects, size: t.size, stored: t.stored, wholes: t.wholes,
	})
}

// Apply implements ring.Rider.
func (t *Table) Apply(index uint64, _ ring.Member, data []byte) []byte {
	o, err := parseOp(data)
	if err != nil {
		return Result{Outcome: Malformed}.append(nil)
	}
	return t.apply(index, o).append(nil)
}

func (t *Table) apply(index uint64, o *op) Result {
	switch o.kind {
	case opBucket:
		return t.makeBucket(o.bucket, o.n, o.k, o.least)
	case opLayout:
		return t.setLayout(index, o)
	case opMove:
		return t.moveColumn(o.move)
	}
	objects, ok := t.live[o.bucket]
	if !ok {
		return Result{Outcome: NoBucket}
	}
	old, _ := objects.Get(o.key)
	if old == nil && o.kind == opDelete {
		return Result{Outcome: NoObject}
	}
	if !o.cond.holds(old) {
		res := Result{Outcome: CondFailed}
		if old != nil {
			res.Version, res.ETag = old.Version, old.ETag
		}
		return res
	}
	if o.kind == opPut && !t.agrees(o.rec) {
		return Result{Outcome: Malformed}
	}
	var changes [2]Change
	n := 0
	if o.kind == opPut {
		o.rec.Version = index
		if b, ok := t.bodies.Get(string(o.rec.Body[:])); ok && o.rec.Striped() {
			o.rec.adopt(b.Rec)
		}
		objects.Set(o.key, o.rec)
		n += t.ref(o.rec, &changes[n])
	} else {
		objects.Delete(o.key)
	}
	if old != nil {
		t.own(old, o.bucket, o.key, false)
		n += t.unref(old, &changes[n])
	}
	if o.kind == opPut {
		t.own(o.rec, o.bucket, o.key, true)
	}
	b, _ := t.buckets.Get(o.bucket)
	t.buckets.Set(o.bucket, b.with(objects))
	t.publish()
	if t.notify != nil {
		for _, c := range changes[:n] {
			t.notify(c)
		}
	}
	switch {
	case o.kind == opDelete:
		return Result{Outcome: Deleted, Version: old.Version, ETag: old.ETag}
	case old != nil:
		return Result{Outcome: Replaced, Version: index, ETag: o.rec.ETag}
	}
	return Result{Outcome: Created, Version: index, ETag: o.rec.ETag}
}

func (t *Table) makeBucket(name string, n, k uint16, least uint8) Result {
	switch {
	case t.live[name] != nil:
		return Result{Outcome: Exists}
	case len(t.live) >= MaxBuckets:
		return Result{Outcome: TooMany}
	}
	objects := btree.NewMap[string, *Record](0)
	t.live[name] = objects
	t.buckets.Set(name, (&bucket{n: n, k: k, least: least}).with(objects))
	t.publish()
	return Result{Outcome: Created}
}

// holds reports whether the condition holds for what is under the key; nil:
// nothing is.
func (c Cond) holds(old *Record) bool {
	if c.IfAbsent && old != nil {
		return false
	}
	return c.IfMatch == "" || old != nil && (c.IfMatch == AnyTag || c.IfMatch == old.ETag)
}

// Holds reports whether the condition holds for the record; nil: no object.
func (c Cond) Holds(old *Record) bool { return c.holds(old) }

// ref counts one more object of the body. It returns 1 and fills c if the body
// became needed.
func (t *Table) ref(r *Record, c *Change) int {
	k := string(r.Body[:])
	b, _ := t.bodies.Get(k)
	b.Refs++
	if b.Rec == nil {
		b.Rec = r
	}
	t.bodies.Set(k, b)
	t.objects++
	t.size += r.Size
	if b.Refs > 1 {
		return 0
	}
	t.stored += r.Size
	t.spread(r, 1)
	*c = Change{Rec: r, Needed: true}
	return 1
}

func (t *Table) unref(r *Record, c *Change) int {
	k := string(r.Body[:])
	b, _ := t.bodies.Get(k)
	b.Refs--
	t.objects--
	t.size -= r.Size
	if b.Refs > 0 {
		t.bodies.Set(k, b)
		return 0
	}
	t.bodies.Delete(k)
	t.stored -= r.Size
	t.spread(r, -1)
	*c = Change{Rec: r}
	return 1
}

// agrees reports whether the record fits what is known of its body: one hash
// has one size.
func (t *Table) agrees(r *Record) bool {
	b, ok := t.bodies.Get(string(r.Body[:]))
	return !ok || b.Rec.Size == r.Size && b.Rec.Striped() == r.Striped()
}

// samePlaces reports whether the record's columns are where those of its body
// are known to be.
func (t *Table) samePlaces(r *Record) bool {
	b, ok := t.bodies.Get(string(r.Body[:]))
	return !ok || slices.Equal(b.Rec.Nodes, r.Nodes) && slices.Equal(b.Rec.Origin, r.Origin)
}

// spread counts the bodies that lie on the same nodes with the same code.
func (t *Table) spread(r *Record, n int) {
	if !r.Striped() {
		t.wholes += n
		return
	}
	nodes := slices.Clone(r.Nodes)
	slices.Sort(nodes)
	key := binary.BigEndian.AppendUint16(nil, r.K)
	for _, id := range nodes {
		key = binary.BigEndian.AppendUint32(key, uint32(id))
	}
	s, _ := t.layouts.Get(string(key))
	s = Spread{Nodes: nodes, K: int(r.K), Bodies: s.Bodies + n}
	if s.Bodies == 0 {
		t.layouts.Delete(string(key))
	} else {
		t.layouts.Set(string(key), s)
	}
}

// View implements ring.Rider: the table does not depend on who is there.
func (t *Table) View(uint64, ring.View, ring.Instant) {}

// Snapshot implements ring.Rider.
func (t *Table) Snapshot(w io.Writer) error { return t.Now().Write(w) }

// Restore implements ring.Rider. After an error the table is as it was.
func (t *Table) Restore(r io.Reader) error {
	fresh := &Table{}
	fresh.clear()
	if err := fresh.read(r); err != nil {
		return err
	}
	t.live, t.buckets, t.bodies, t.layouts = fresh.live, fresh.buckets, fresh.bodies, fresh.layouts
	t.owners, t.layout = fresh.owners, fresh.layout
	t.objects, t.size, t.stored, t.wholes = fresh.objects, fresh.size, fresh.stored, fresh.wholes
	t.publish()
	if t.notify != nil {
		t.notify(Change{Reset: true})
	}
	return nil
}
