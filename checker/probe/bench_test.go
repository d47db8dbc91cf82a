package probe

import (
	"bufio"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func benchProbe(b *testing.B, c Check) {
	c.Timeout = checktest.Patience
	p, err := NewProber(&c, NewShared())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	defer checktest.ReportCPU(b)()
	for b.Loop() {
		if out := p.Probe(b.Context(), time.Now().Add(checktest.Patience)); out.Reason != outcome.OK {
			b.Fatal(out)
		}
	}
}

// The listener never accepts more than it must: the kernel answers the
// handshakes, so the figure is nearly the probe's own.
func BenchmarkConnect(b *testing.B) {
	to := checktest.Serve(b, func(c net.Conn) {})
	b.Run("probe", func(b *testing.B) { benchProbe(b, Check{Type: TypeConnect, Address: to}) })
	b.Run("net.Dialer", func(b *testing.B) {
		d := net.Dialer{KeepAlive: -1}
		b.ReportAllocs()
		defer checktest.ReportCPU(b)()
		for b.Loop() {
			c, err := d.DialContext(b.Context(), "tcp", to.String())
			if err != nil {
				b.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	b.Run("refused", func(b *testing.B) {
		p := newConnectProbe(&Check{Address: checktest.Refusing(b)})
		b.ReportAllocs()
		for b.Loop() {
			p.Probe(b.Context(), time.Now().Add(checktest.Patience))
		}
	})
}

// BenchmarkHTTP makes whole probes, and the same with net/http's parser.
func BenchmarkHTTP(b *testing.B) {
	to := checktest.Serve(b, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1024)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")
		}
	})
	check := Check{Type: TypeHTTP, Address: to, BodyExpect: "alive"}
	b.Run("probe", func(b *testing.B) { benchProbe(b, check) })
	b.Run("http.ReadResponse", func(b *testing.B) {
		made, err := newHTTPProbe(&check, NewShared())
		if err != nil {
			b.Fatal(err)
		}
		p := made.(*httpProbe)
		b.ReportAllocs()
		defer checktest.ReportCPU(b)()
		for b.Loop() {
			c, out := p.Connect(b.Context(), time.Now().Add(checktest.Patience))
			if c == nil {
				b.Fatal(out)
			}
			if _, err := c.Write(p.bytes); err != nil {
				b.Fatal(err)
			}
			if _, body := libraryResponse(b, c); !p.expect.Match(body) {
				b.Fatalf("body %q", body)
			}
			c.Close()
		}
	})
}

// libraryReaders are for reading with net/http, as buffers are for our own parser.
var libraryReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2048) }}

// libraryResponse reads a response with net/http, bounded as ours is.
func libraryResponse(b *testing.B, c io.Reader) (status int, body []byte) {
	r := libraryReaders.Get().(*bufio.Reader)
	defer libraryReaders.Put(r)
	r.Reset(io.LimitReader(c, wire.MaxHead+wire.MaxBody))
	a, err := http.ReadResponse(r, nil) // nil: a GET request
	if err != nil {
		b.Fatal(err)
	}
	defer a.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(a.Body, wire.MaxBody)); err != nil {
		b.Fatal(err)
	}
	return a.StatusCode, body
}

// BenchmarkResponse parses responses that are in memory.
func BenchmarkResponse(b *testing.B) {
	const head = "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 02 Mar 2026 10:00:00 GMT\r\n" +
		"Content-Type: text/html\r\nLast-Modified: Mon, 02 Mar 2026 09:00:00 GMT\r\nConnection: close\r\nETag: \"67c4\"\r\n"
	for name, text := range map[string]string{
		"short":   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive",
		"nginx":   head + "Content-Length: 615\r\n\r\n" + strings.Repeat("x", 615),
		"chunked": head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("40\r\n"+strings.Repeat("x", 64)+"\r\n", 10) + "0\r\n\r\n",
	} {
		b.Run(name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 2048)
			for b.Loop() {
				a, r := wire.Response{WantBody: true}, strings.NewReader(text)
				for !a.Done() {
					n, err := r.Read(buf)
					if err == nil {
						err = a.Feed(buf[:n])
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(name+"/http.ReadResponse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if status, _ := libraryResponse(b, strings.NewReader(text)); status != 200 {
					b.Fatal(status)
				}
			}
		})
	}
}
