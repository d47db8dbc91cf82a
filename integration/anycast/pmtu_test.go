package anycast

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAnycastPathMTU: servers learn from "fragmentation needed" and "packet too big" that the
// path to a client takes smaller packets only, though the router sends all such errors of a
// sender to one director. Without schedule_icmp those of other directors' connections are
// lost.
func TestAnycastPathMTU(t *testing.T) {
	const clients = 30
	s := newSite(t, setting{speaker: bird, six: true})
	// The clients are behind another router: the errors of the first one follow the packets
	// that caused them, since its kernel sees both.
	far := s.LAN("far", "203.0.113.0/24")
	narrow := s.Host("narrow", s.outside, "198.51.100.9/24")
	narrow.AddAddress("eth0", "2001:db8:20::9/64")
	narrow.Plug(far, "203.0.113.1/24")
	narrow.AddAddress("eth1", "2001:db8:30::1/64")
	narrow.SetSysctl("net.ipv4.ip_forward", "1")
	narrow.SetSysctl("net.ipv6.conf.all.forwarding", "1")
	narrow.DefaultRoute("198.51.100.1")
	narrow.DefaultRoute("2001:db8:20::1")
	narrow.MustRun("ip", "link", "set", "eth1", "mtu", "1300")
	s.router.Route("203.0.113.0/24", "198.51.100.9")
	s.router.Route("2001:db8:30::/64", "2001:db8:20::9")
	s.client = s.Host("clients", far, "203.0.113.2/24")
	s.client.AddAddress("eth0", "2001:db8:30::2/64")
	s.client.DefaultRoute("203.0.113.1")
	s.client.DefaultRoute("2001:db8:30::1")
	// Each client has an address of its own: a server that knows the path to one needs no other error.
	var addresses []netip.Addr
	for i := range 4 * clients {
		format, bits := "203.0.113.%d", "/24"
		if i%2 == 1 {
			format, bits = "2001:db8:30::%d", "/64"
		}
		a := netip.MustParseAddr(fmt.Sprintf(format, 100+i))
		s.client.AddAddress("eth0", a.String()+bits)
		addresses = append(addresses, a)
	}
	for _, d := range s.lb {
		d.SetSysctl("net.ipv4.vs.schedule_icmp", "0")
	}
	if stuck := s.stuck(addresses[:2*clients], 3*time.Second); stuck[vip] == 0 || stuck[vip6] == 0 {
		t.Errorf("without schedule_icmp only %v clients wait: the test proves little", stuck)
	}
	for _, d := range s.lb {
		d.SetSysctl("net.ipv4.vs.schedule_icmp", "1")
	}
	if stuck := s.stuck(addresses[2*clients:], patience); len(stuck) > 0 {
		t.Errorf("of %d clients in each family, so many get no large response: %v", clients, stuck)
	}
}

// stuck asks for responses larger than the path's packets, a client each at the VIP of its
// family, and returns how many get none, by VIP.
func (s *site) stuck(clients []netip.Addr, limit time.Duration) map[string]int {
	s.t.Helper()
	var mu sync.Mutex
	all, stuck, first := sync.WaitGroup{}, map[string]int{}, map[string]error{}
	for _, c := range clients {
		to := vip
		if c.Is6() {
			to = vip6
		}
		var conn net.Conn
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		err := s.client.Do(func() (err error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c, 0))}
			conn, err = d.DialContext(ctx, "tcp", net.JoinHostPort(to, "80"))
			return err
		})
		cancel()
		if err != nil {
			s.t.Fatalf("connect from %v: %v", c, err)
		}
		all.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(limit))
			_, err := fmt.Fprintln(conn, strings.Repeat("x", 2500))
			if err == nil {
				_, err = bufio.NewReader(conn).ReadString('\n')
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				stuck[to]++
				first[to] = err
			}
		})
	}
	all.Wait()
	s.t.Logf("%v of %d clients get no large response (%v)", stuck, len(clients), first)
	return stuck
}
