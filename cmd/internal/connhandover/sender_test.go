package connhandover

import (
	"net/netip"
	"testing"

	"lvsd/ipvs"
)

func server(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), 80)
}

func TestForwards(t *testing.T) {
	to := func(way ipvs.Forward, servers ...netip.AddrPort) ipvs.Service {
		svc := ipvs.Service{Destinations: map[netip.AddrPort]ipvs.Destination{}}
		for _, s := range servers {
			svc.Destinations[s] = ipvs.Destination{Address: s, Forward: way}
		}
		return svc
	}
	port := func(i uint16) netip.AddrPort { return netip.AddrPortFrom(server(1).Addr(), i) }
	key := func(p ipvs.Protocol, a string) ipvs.ServiceKey {
		return ipvs.ServiceKey{Protocol: p, Address: netip.MustParseAddrPort(a)}
	}
	forwards := forwardsOf(ipvs.Table{
		key(ipvs.TCP, "10.0.0.88:80"): to(ipvs.Tunnel, port(80)),
		key(ipvs.TCP, "10.0.0.88:0"):  to(ipvs.DirectRoute, port(0)),
		key(ipvs.UDP, "10.0.0.88:80"): to(ipvs.NAT, port(80)),
		{Mark: 1}:                     to(ipvs.Tunnel, server(2), server(3)),
		{Mark: 2}:                     to(ipvs.DirectRoute, server(3)),
	})
	for name, c := range map[string]struct {
		protocol, virtual string
		server            netip.AddrPort
		forward           ipvs.Forward
		known             bool
	}{
		"its own service":            {"TCP", "10.0.0.88:80", port(80), ipvs.Tunnel, true},
		"the same server for udp":    {"UDP", "10.0.0.88:80", port(80), ipvs.NAT, true},
		"the service of all ports":   {"TCP", "10.0.0.88:25", port(25), ipvs.DirectRoute, true},
		"that, not its own":          {"TCP", "10.0.0.88:80", port(25), 0, false},
		"a mark":                     {"TCP", "10.0.0.99:25", server(2), ipvs.Tunnel, true},
		"two marks, and two ways":    {"TCP", "10.0.0.99:25", server(3), 0, false},
		"no service's":               {"TCP", "10.0.0.99:25", server(4), 0, false},
		"of a protocol that is none": {"IP", "10.0.0.99:25", server(2), 0, false},
	} {
		got, known := forwards.of(ipvs.Connection{Protocol: c.protocol, Virtual: netip.MustParseAddrPort(c.virtual), RealServer: c.server})
		if got != c.forward || known != c.known {
			t.Errorf("%s: %v, %v", name, got, known)
		}
	}
}
