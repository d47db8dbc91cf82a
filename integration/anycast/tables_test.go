package anycast

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tableClients is how many client addresses are compared.
const tableClients = 8000

// TestAnycastEqualTables: a director that starts while a server is down sends each client to
// the same server as the others do, while it is down and when it is back; so does one that
// starts while a server is drained. Without priming, 10 to 17 % of the clients differ.
func TestAnycastEqualTables(t *testing.T) {
	s := newHosts(t, setting{servers: 4})
	s.client = s.Host("clients", s.inside, "10.0.0.99/24")
	s.openRaw()
	for _, d := range s.lb[:2] {
		d.start()
		d.waitWeights("1 1 1 1")
	}
	s.servers[1].Refuse()
	for _, d := range s.lb[:2] {
		d.waitWeights("1 0 1 1")
	}
	s.lb[2].start()
	s.lb[2].waitWeights("1 0 1 1")
	s.compare("with a server down", 1001)
	s.servers[1].Start()
	for _, d := range s.lb {
		d.waitWeights("1 1 1 1")
	}
	s.compare("with all servers up", 1002)

	// A director that starts with an empty table while a server is drained.
	for _, d := range s.lb {
		d.mustRun("drain", "web", "10.0.0.23:80", "-c", d.config, "--director", d.Name, "--socket", d.socket)
	}
	s.lb[2].stop()
	s.lb[2].MustRun("ipvsadm", "-C")
	s.lb[2].start()
	for _, d := range s.lb {
		d.waitWeights("1 1 0 1")
	}
	s.compare("with a drained server", 1003)
	for _, d := range s.lb {
		d.mustRun("undrain", "web", "10.0.0.23:80", "-c", d.config, "--director", d.Name, "--socket", d.socket)
		d.waitWeights("1 1 1 1")
	}
	s.compare("after the drain", 1004)
}

// waitWeights waits until the kernel has these weights.
func (d *director) waitWeights(want string) {
	d.site.t.Helper()
	d.site.WaitUntil(patience, d.Name+": weights "+want, func() bool {
		var all []string
		for line := range strings.Lines(d.MustRun("ipvsadm", "-S", "-n")) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == "-a" {
				all = append(all, f[4]+" "+f[len(f)-1])
			}
		}
		slices.Sort(all)
		var weights []string
		for _, a := range all {
			weights = append(weights, a[strings.LastIndex(a, " ")+1:])
		}
		return strings.Join(weights, " ") == want
	})
}

// compare compares where the directors send each client. The clients of one comparison have
// a port of their own, so that no connection of an earlier one decides.
func (s *site) compare(when string, port uint16) {
	s.t.Helper()
	first := s.destinations(s.lb[0], port)
	servers := map[string]int{}
	for _, server := range first {
		servers[server]++
	}
	s.t.Logf("%s: %v", when, servers)
	for _, d := range s.lb[1:] {
		differ := 0
		for client, server := range s.destinations(d, port) {
			if server != first[client] {
				differ++
			}
		}
		if differ > 0 {
			s.t.Errorf("%s: %s sends %d of %d clients elsewhere than %s", when, d.Name, differ, tableClients, s.lb[0].Name)
		}
	}
}

// destinations returns the server to which a director's kernel sends each client: as its
// table of connections has them after one packet of each.
func (s *site) destinations(d *director, port uint16) map[netip.Addr]string {
	s.t.Helper()
	s.client.MustRun("ip", "route", "replace", vip, "via", d.Addr().String())
	suffix, all := fmt.Sprintf(":%d", port), map[netip.Addr]string{}
	s.WaitUntil(patience, fmt.Sprintf("%s to have %d connections", d.Name, tableClients), func() bool {
		for i := range tableClients {
			if c := clientAddress(i); all[c] == "" {
				s.sendSYN(c, port)
			}
		}
		for line := range strings.Lines(d.MustRun("ipvsadm", "-Lnc")) {
			if f := strings.Fields(line); len(f) == 6 && strings.HasSuffix(f[3], suffix) {
				all[netip.MustParseAddrPort(f[3]).Addr()] = f[5]
			}
		}
		return len(all) == tableClients
	})
	return all
}

// clientAddress is the address of a client.
func clientAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}) }

// sendSYN sends the first packet of a client's connection to the VIP. Its TCP checksum is
// wrong, so that the server that gets it drops it; IPVS does not look at that.
func (s *site) sendSYN(from netip.Addr, port uint16) {
	s.t.Helper()
	to, source := netip.MustParseAddr(vip).As4(), from.As4()
	b := make([]byte, 40)
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_TCP // the kernel adds length and checksum (ip(7), IP_HDRINCL)
	copy(b[12:], source[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 80)
	b[32], b[33] = 5<<4, 2 // a header of 20 octets; SYN
	if err := unix.Sendto(s.raw, b, 0, &unix.SockaddrInet4{Addr: to}); err != nil {
		s.t.Fatalf("send as %v: %v", from, err)
	}
}

// openRaw opens the socket of sendSYN on the clients' host.
func (s *site) openRaw() {
	s.t.Helper()
	err := s.client.Do(func() (err error) {
		s.raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		s.t.Fatalf("open a raw socket: %v", err)
	}
	s.t.Cleanup(func() { unix.Close(s.raw) })
}
