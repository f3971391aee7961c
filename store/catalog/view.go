package catalog

import (
	"strings"

	"github.com/tidwall/btree"

	"rain/ring"
)

// View is the table as it was at one moment. It never changes.
type View struct {
	buckets *btree.Map[string, *bucket]
	bodies  *btree.Map[string, Body] // by the raw bytes of Record.Body
	layouts *btree.Map[string, Spread]
	layout  *Layout
	wholes  int
	objects int
	size    int64 // of all objects
	stored  int64 // of all bodies, each counted once
}

// bucket is immutable, too; objects is a frozen copy.
type bucket struct {
	n, k    uint16
	least   uint8
	objects *btree.Map[string, *Record]
}

// with is the bucket with a frozen copy of the objects.
func (b *bucket) with(objects *btree.Map[string, *Record]) *bucket {
	return &bucket{n: b.n, k: b.k, least: b.least, objects: objects.Copy()}
}

// Body is what the table knows of a body that objects refer to.
type Body struct {
	Rec  *Record // one of an object that has, or had, this body
	Refs int     // objects with this body, at least 1
}

// Spread says how many striped bodies lie on the same nodes with the same K.
type Spread struct {
	Nodes  []ring.NodeID // ascending
	K      int
	Bodies int
}

// Wholes is the number of bodies that lie whole on every member.
func (v *View) Wholes() int { return v.wholes }

// Spreads calls f for each spread of striped bodies, until f returns false.
func (v *View) Spreads(f func(Spread) bool) {
	v.layouts.Scan(func(_ string, s Spread) bool { return f(s) })
}

// Objects is the number of objects.
func (v *View) Objects() int { return v.objects }

// Size is the sum of the sizes of all objects, in bytes.
func (v *View) Size() int64 { return v.size }

// StoredBytes is the sum of the sizes of all bodies, each counted once.
func (v *View) StoredBytes() int64 { return v.stored }

// HasBucket reports whether the bucket is there.
func (v *View) HasBucket(name string) bool {
	_, ok := v.buckets.Get(name)
	return ok
}

// Code is the code that the bucket was made with; 0, 0: the cluster's own.
func (v *View) Code(name string) (n, k uint16) {
	if b, ok := v.buckets.Get(name); ok {
		return b.n, b.k
	}
	return 0, 0
}

// BucketInfo is what is known of a bucket.
type BucketInfo struct {
	N, K        uint16 // its code; 0, 0: the cluster's own
	MinSurvives uint8  // losses that an object must survive when it is put
	Objects     int
}

// Bucket describes a bucket; false: there is none.
func (v *View) Bucket(name string) (BucketInfo, bool) {
	b, ok := v.buckets.Get(name)
	if !ok {
		return BucketInfo{}, false
	}
	return BucketInfo{N: b.n, K: b.k, MinSurvives: b.least, Objects: b.objects.Len()}, true
}

// Layout is the list of storage nodes that an operator has set; nil: none was.
func (v *View) Layout() *Layout { return v.layout }

// Get returns the object's record; nil if there is none. It does not allocate.
func (v *View) Get(bucket, key string) *Record {
	b, ok := v.buckets.Get(bucket)
	if !ok {
		return nil
	}
	r, _ := b.objects.Get(key)
	return r
}

// Buckets are the names of all buckets, ascending.
func (v *View) Buckets() []string { return v.buckets.Keys() }

// List calls f for each key of the bucket that begins with prefix and is
// greater than after, ascending, until f returns false.
func (v *View) List(bucket, prefix, after string, f func(key string, r *Record) bool) {
	b, ok := v.buckets.Get(bucket)
	if !ok {
		return
	}
	b.objects.Ascend(max(prefix, after), func(key string, r *Record) bool {
		switch {
		case !strings.HasPrefix(key, prefix):
			return false
		case key == after && after != "":
			return true
		}
		return f(key, r)
	})
}

// Body returns what is known of a body; false if no object has it.
func (v *View) Body(s Sum) (Body, bool) { return v.bodies.Get(string(s[:])) }

// Bodies calls f for each body greater than after, ascending, until f returns
// false. after may be nil.
func (v *View) Bodies(after []byte, f func(s Sum, b Body) bool) {
	v.bodies.Ascend(string(after), func(k string, b Body) bool {
		if k == string(after) {
			return true
		}
		var s Sum
		copy(s[:], k)
		return f(s, b)
	})
}
