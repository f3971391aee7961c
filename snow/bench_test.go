package snow

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/valyala/fasthttp"
)

// benchmark asks for one file over keep-alive connections of loopback; each
// iteration is one request with its whole response.
func benchmark(b *testing.B, name string, vip bool) {
	r := newRig(b, func(c *Config) { c.NodeHeader = false })
	files := testSite()
	files["1k.bin"] = files["a.txt"]
	files["1k.bin"].Data = bytes.Repeat([]byte("x"), 1024)
	r.publish("a.test", files, true)
	addr := r.own
	if vip {
		addr = r.vip
	}
	drive(b, addr, name, len(files[name].Data))
}

func drive(b *testing.B, addr, name string, size int) {
	request := []byte("GET /" + name + " HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buf := make([]byte, 256<<10)
		for pb.Next() {
			if err := exchange(c, request, buf, size); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func exchange(c net.Conn, request, buf []byte, size int) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	got := 0
	for {
		n, err := c.Read(buf[got:])
		if err != nil {
			return err
		}
		got += n
		if i := bytes.Index(buf[:got], []byte("\r\n\r\n")); i >= 0 {
			if !bytes.Contains(buf[:i], []byte("Content-Length: "+strconv.Itoa(size))) {
				return io.ErrUnexpectedEOF
			}
			for left := size - (got - i - 4); left > 0; {
				n, err := c.Read(buf[:min(left, len(buf))])
				if err != nil {
					return err
				}
				left -= n
			}
			return nil
		}
	}
}

// BenchmarkBare is fasthttp with the same bytes and nothing around them: what
// BenchmarkSmall is to be compared with.
func BenchmarkBare(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.SetCanonical([]byte("ETag"), []byte(`"0123456789012345678901234567890123456789"`))
		h.SetCanonical([]byte("Last-Modified"), []byte("Sun, 01 Mar 2026 12:00:00 GMT"))
		h.SetCanonical([]byte("Accept-Ranges"), []byte("bytes"))
		ctx.Response.SetBodyRaw(body)
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	drive(b, ln.Addr().String(), "1k.bin", len(body))
	if err := errors.Join(s.Shutdown(), <-done); err != nil {
		b.Error(err)
	}
}

func BenchmarkSmall(b *testing.B)    { benchmark(b, "1k.bin", false) }
func BenchmarkSmallVIP(b *testing.B) { benchmark(b, "1k.bin", true) }
func BenchmarkMid(b *testing.B)      { benchmark(b, "mid.bin", false) }
func BenchmarkSendfile(b *testing.B) { benchmark(b, "big.bin", false) }
func BenchmarkMemory(b *testing.B)   { benchmark(b, "memory.bin", false) }
