package catalog

import (
	"fmt"
	"testing"

	"rain/ring"
)

func TestLookupDoesNotAllocate(t *testing.T) {
	v := sample(t).Now()
	if n := testing.AllocsPerRun(100, func() { _ = v.Get("bbb", "k3") }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}

func BenchmarkApplyPut(b *testing.B) {
	tab := New(nil)
	apply(b, tab, 0, bucketOp(b, "bucket"))
	for i := range 100000 {
		put(b, tab, uint64(i), "bucket", fmt.Sprintf("key/%d", i), Cond{}, rec(i))
	}
	op, _ := EncodePut("bucket", "key/777", Cond{}, rec(1))
	b.ReportAllocs()
	i := uint64(200000)
	for b.Loop() {
		i++
		tab.Apply(i, ring.Member{}, op)
	}
}
