// IPv6 by NAT, by tunnel and with persistence by prefix; SCTP.

package ipvs_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestIPv6NATTunnelAndPersistence serves IPv6 clients by NAT, by tunnel, and persistent
// by their /64.
func TestIPv6NATTunnelAndPersistence(t *testing.T) {
	p := sixPair(t, 4)
	lb := p.LB[0]
	nat, tun, sticky := p.Real[0], p.Real[1], p.Real[2:]
	at := func(port int) string { return fmt.Sprintf("[%s]:%d", sixVIP, port) }
	// The NAT server's replies go through the director, which is on its LAN.
	nat.SetSysctl("net.ipv6.conf.eth0.accept_redirects", "0")
	nat.Route("2001:db8:77::2/128", "2001:db8:77::11")
	lab.ServeLines(nat, ":8080", "rs1")
	if out, code := lvsdtest.LVSDOn(t, tun, "realserver", "up", "--vip", sixVIP, "--forward", "tun", "--state-dir", p.Path("rs2.state")); code != 0 {
		t.Fatalf("realserver up: %d\n%s", code, out)
	}
	lab.ServeLines(tun, ":81", "rs2")
	for _, h := range append([]*lab.Host{lb.Host}, sticky...) {
		h.MustRun("ip", "-6", "route", "add", "2001:db8:78::/64", "dev", "eth0")
	}
	for _, r := range sticky {
		r.AddAddress("lo", sixVIP+"/128")
		lab.ServeLines(r, ":82", r.Name)
	}
	for _, a := range []string{"2001:db8:77::3/64", "2001:db8:77::4/64", "2001:db8:78::2/64"} {
		p.Client.AddAddress("eth0", a)
	}
	p.Services = fmt.Sprintf(`
[[virtual_service]]
name = "nat"
address = %q
forward = "nat"
check = %s
real_servers = [ { address = "[%s]:8080" } ]
[[virtual_service]]
name = "tun"
address = %q
forward = "tun"
check = %s
real_servers = [ { address = "[%s]:81" } ]
[[virtual_service]]
name = "sticky"
address = %q
scheduler = "rr"
persistence = "5m"
persistence_netmask = "64"
check = %s
real_servers = [ { address = "[%s]:82" }, { address = "[%s]:82" } ]
`, at(80), lvsdtest.QuickCheck, six(nat), at(81), lvsdtest.QuickCheck, six(tun), at(82), lvsdtest.QuickCheck, six(sticky[0]), six(sticky[1]))
	lb.StartDaemon()
	for port, server := range map[int]string{80: "rs1", 81: "rs2"} {
		p.WaitUntil(20*time.Second, "a response through "+at(port), func() bool {
			who, err := askFrom(p, "2001:db8:77::2", at(port), false) // whose reply goes through the director
			if err == nil && who != server {
				t.Errorf("%s was served by %s", at(port), who)
			}
			return err == nil
		})
	}
	p.WaitUntil(20*time.Second, "both servers of the third", func() bool {
		return strings.Count(lb.IPVSTable(), "]:82 -g -w 1") == 2
	})
	home := map[string]bool{}
	for range 2 {
		for _, from := range []string{"2001:db8:77::2", "2001:db8:77::3", "2001:db8:77::4"} {
			who, err := askFrom(p, from, at(82), false)
			if err != nil {
				t.Fatal(err)
			}
			home[who] = true
		}
	}
	if len(home) != 1 {
		t.Errorf("clients of one /64 were served by %v", home)
	}
	if who, err := askFrom(p, "2001:db8:78::2", at(82), false); err != nil || home[who] {
		t.Errorf("a client of another /64 was served by %s (%v), the others by %v", who, err, home)
	}
	if out := lb.IPVSTable(); !lvsdtest.ContainsAll(out,
		fmt.Sprintf("-a -t %s -r [%s]:8080 -m -w 1", at(80), six(nat)),
		fmt.Sprintf("-a -t %s -r [%s]:81 -i -w 1 --tun-type ipip", at(81), six(tun)),
		fmt.Sprintf("-A -t %s -s rr -p 300 -M 64", at(82))) {
		t.Errorf("%s", out)
	}
}

// TestSCTPIsBalanced uses system calls, as Go's net package has no SCTP.
func TestSCTPIsBalanced(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	lb := p.LB[0]
	for _, r := range p.Real {
		serveSCTP(t, r, 2905)
	}
	p.Services = p.ServiceConfig("sig", lvsdtest.VIP+":2905", "protocol = \"sctp\"\nscheduler = \"rr\"\ncheck = { type = \"on\" }", 2905)
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	p.WaitUntil(30*time.Second, "both servers", func() bool { return strings.Count(lb.IPVSTable(), ":2905 -g -w 1") == 2 })
	seen := map[string]int{}
	for range 6 {
		who, err := askSCTP(p.Client, net.ParseIP(lvsdtest.VIP), 2905)
		if err != nil {
			t.Fatal(err)
		}
		seen[who]++
	}
	if seen["rs1"] != 3 || seen["rs2"] != 3 {
		t.Errorf("6 associations by rr: %v", seen)
	}
	if out := lb.IPVSTable(); !strings.Contains(out, "-A --sctp-service "+lvsdtest.VIP+":2905 -s rr") {
		t.Errorf("%s", out)
	}
}

// sctpSocket opens an SCTP socket on a host, with a timeout.
func sctpSocket(h *lab.Host) (fd int, err error) {
	err = h.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return err
		}
		limit := unix.Timeval{Sec: 5}
		for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
				return err
			}
		}
		return nil
	})
	return fd, err
}

// serveSCTP sends the host's name to each client, until the test ends.
func serveSCTP(t *testing.T, h *lab.Host, port int) {
	t.Helper()
	fd, err := sctpSocket(h)
	if err == unix.EPROTONOSUPPORT {
		lab.Require(t, errors.New("this kernel has no SCTP (modprobe sctp does not help)"))
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		t.Fatalf("SCTP on %s: %v", h.Name, err)
	}
	ended, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, _, err := unix.Accept(fd) // EAGAIN: no client within the timeout
			if err == nil {
				_, _ = unix.Write(conn, []byte(h.Name))
				unix.Close(conn)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		unix.Close(fd)
		<-ended
	})
}

// askSCTP connects to an SCTP server and returns what it sends.
func askSCTP(h *lab.Host, to net.IP, port int) (string, error) {
	fd, err := sctpSocket(h)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte(to.To4())}); err != nil {
		return "", fmt.Errorf("failed to connect: %w", err)
	}
	b := make([]byte, 16)
	n, err := unix.Read(fd, b)
	return string(b[:max(n, 0)]), err
}
