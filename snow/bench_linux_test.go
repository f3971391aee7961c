package snow

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuTime is what this process, server and clients, has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkQueue compares 1 KiB GETs with and without the queue by the CPU that
// they take: that stays comparable on a machine where others work, too.
func BenchmarkQueue(b *testing.B) {
	for _, on := range []bool{false, true} {
		name := map[bool]string{false: "off", true: "on"}[on]
		b.Run(name, func(b *testing.B) {
			r := newRig(b, func(c *Config) { c.NodeHeader = false })
			if on {
				r, _ = queueRig(b)
			}
			files := testSite()
			files["1k.bin"] = files["a.txt"]
			files["1k.bin"].Data = bytes.Repeat([]byte("x"), 1024)
			r.publish("a.test", files, true)
			before := cpuTime(b)
			drive(b, r.vip, "1k.bin", 1024)
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
