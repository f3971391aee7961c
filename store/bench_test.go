package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strconv"
	"sync/atomic"
	"testing"
)

// benchPut puts bodies of their own from 16 clients at three nodes, with real
// syncs and real connections. The ring is in memory.
func benchPut(b *testing.B, size int) {
	c := newTCPCluster(b, 3)
	nodes := c.all()
	if _, err := nodes[0].s.CreateBucket(b.Context(), "bucket"); err != nil {
		b.Fatal(err)
	}
	var seq atomic.Uint64
	b.SetBytes(int64(size))
	b.ResetTimer()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		body := make([]byte, size)
		for pb.Next() {
			i := seq.Add(1)
			binary.BigEndian.PutUint64(body, i)
			key := strconv.FormatUint(i%100, 10)
			if _, _, err := nodes[i%3].s.Put(context.Background(), "bucket", key, bytes.NewReader(body), PutOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

func BenchmarkOpenSmall(b *testing.B) {
	c := newCluster(b, 1)
	n := c.all()[0]
	if _, err := n.s.CreateBucket(b.Context(), "bucket"); err != nil {
		b.Fatal(err)
	}
	if _, _, err := n.s.Put(b.Context(), "bucket", "k", bytes.NewReader(make([]byte, 1024)), PutOptions{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		o, err := n.s.Open(context.Background(), "bucket", "k")
		if err != nil || len(o.Body.Bytes()) != 1024 {
			b.Fatal(err)
		}
		_ = o.Body.Close()
	}
}

func BenchmarkPut1KiB(b *testing.B) { benchPut(b, 1<<10) }
func BenchmarkPut1MiB(b *testing.B) { benchPut(b, 1<<20) }

// benchGet reads an object of one window from a node that has a column, with
// nothing decoded in memory.
func benchGet(b *testing.B, size int, clients int) {
	c := newTCPCluster(b, 4)
	nodes := c.all()
	if _, err := nodes[0].s.CreateBucket(b.Context(), "bucket"); err != nil {
		b.Fatal(err)
	}
	if _, _, err := nodes[0].s.Put(b.Context(), "bucket", "k", bytes.NewReader(randomBody(1, size)), PutOptions{}); err != nil {
		b.Fatal(err)
	}
	for _, n := range nodes {
		n.s.windows.limit, n.s.decoded.limit = 0, 0
	}
	b.SetBytes(int64(size))
	b.SetParallelism(clients)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 256<<10)
		for pb.Next() {
			o, err := nodes[1].s.Open(context.Background(), "bucket", "k")
			if err != nil {
				b.Error(err)
				return
			}
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(o.Body, 0, o.Size)}, buf); err != nil || n != int64(size) {
				b.Errorf("%d bytes, %v", n, err)
			}
			_ = o.Body.Close()
		}
	})
}

func BenchmarkGet1MiB(b *testing.B)  { benchGet(b, 1<<20, 1) }
func BenchmarkGet64MiB(b *testing.B) { benchGet(b, 64<<20, 1) }
func BenchmarkPut64MiB(b *testing.B) { benchPut(b, 64<<20) }
