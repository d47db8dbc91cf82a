package resolver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// systemLookup looks a name up as the system does: /etc/hosts, then the name servers of
// /etc/resolv.conf. The library does not report times to live; they are read from the
// replies of the name servers, as far as these came by UDP.
func systemLookup(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	var d net.Dialer
	return lookup(ctx, host, d.DialContext)
}

// lookup is systemLookup by connections to name servers that dial makes.
func lookup(ctx context.Context, host string, dial func(ctx context.Context, network, address string) (net.Conn, error)) ([]netip.Addr, time.Duration, error) {
	var ttl shortest
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if udp, ok := c.(*net.UDPConn); ok {
			return &observedConn{udp, &ttl}, nil
		}
		return c, err
	}}
	addresses, err := r.LookupNetIP(ctx, "ip", host)
	return addresses, ttl.value, err
}

// shortest is the shortest time to live of all answers to one lookup; 0: none was seen. A
// record with a time to live of 0 counts as one of a nanosecond.
type shortest struct {
	mu    sync.Mutex
	value time.Duration
}

func (s *shortest) observe(reply []byte) {
	var p dnsmessage.Parser
	if h, err := p.Start(reply); err != nil || !h.Response || p.SkipAllQuestions() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		h, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		if ttl := max(time.Duration(h.TTL)*time.Second, 1); s.value == 0 || ttl < s.value {
			s.value = ttl
		}
	}
}

// observedConn passes the replies of a name server on.
type observedConn struct {
	*net.UDPConn
	ttl *shortest
}

func (c *observedConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	c.ttl.observe(b[:max(n, 0)])
	return n, err
}
