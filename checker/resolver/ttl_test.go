package resolver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer returns the address of a server that replies to each query with an alias and
// an address.
func nameServer(t *testing.T, alias, v4, v6 uint32) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			q := m.Questions[0]
			target := dnsmessage.MustNewName("real.test.")
			head := func(name dnsmessage.Name, ttl uint32) dnsmessage.ResourceHeader {
				return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}
			}
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{Header: head(q.Name, alias), Body: &dnsmessage.CNAMEResource{CNAME: target}}}
			if q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head(target, v4), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}})
			} else {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head(target, v6), Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8}}})
			}
			reply, err := m.Pack()
			if err == nil {
				_, err = c.WriteTo(reply, from)
			}
			if err != nil {
				return
			}
		}
	}()
	return c.LocalAddr().String()
}

// The time to live is the shortest of all records that led to the addresses.
func TestTimeToLive(t *testing.T) {
	for _, tt := range []struct {
		alias, v4, v6 uint32
		want          time.Duration
	}{{300, 60, 600, time.Minute}, {7, 60, 600, 7 * time.Second}, {300, 600, 20, 20 * time.Second}, {300, 0, 600, 1}} {
		server := nameServer(t, tt.alias, tt.v4, tt.v6)
		addresses, ttl, err := lookup(t.Context(), "web.test.", func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		})
		if err != nil || len(addresses) != 2 || ttl != tt.want {
			t.Errorf("%+v: %v, %v, %v", tt, addresses, ttl, err)
		}
	}
}

func TestRefreshAfter(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{0: refreshInterval, 1: minRefresh, 20 * time.Second: 20 * time.Second, time.Hour: maxRefresh} {
		if got := refreshAfter(ttl); got != want {
			t.Errorf("%v: after %v, want %v", ttl, got, want)
		}
	}
}

// A name of a file has no time to live.
func TestNoTimeToLive(t *testing.T) {
	addresses, ttl, err := systemLookup(t.Context(), "localhost")
	if err != nil || ttl != 0 || len(addresses) == 0 || !addresses[0].IsLoopback() {
		t.Errorf("%v, %v, %v", addresses, ttl, err)
	}
	var s shortest
	s.observe([]byte("no message"))
	if s.value != 0 || netip.MustParseAddr("::1") == addresses[0] && len(addresses) > 2 {
		t.Errorf("%+v", s.value)
	}
}
