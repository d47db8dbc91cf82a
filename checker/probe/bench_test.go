package probe

import (
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
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

func BenchmarkHTTP(b *testing.B) {
	to := checktest.Serve(b, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1024)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")
		}
	})
	benchProbe(b, Check{Type: TypeHTTP, Address: to, BodyExpect: "alive"})
}
