package vrrp

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func virtualMAC(c *Config) { c.VirtualMAC = true }

var answer = regexp.MustCompile(`\[([0-9A-Fa-f:]{17})\]`)

// answers are the MAC addresses that answer a client's ARP requests.
func (s *site) answers(host string, a netip.Addr) []string {
	s.t.Helper()
	out, _ := exec.Command("ip", "netns", "exec", s.ns(host), "arping", "-c", "3", "-w", "3", "-I", "eth0", a.String()).CombinedOutput()
	var macs []string
	for _, m := range answer.FindAllStringSubmatch(string(out), -1) {
		if mac := strings.ToLower(m[1]); !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs
}

func (s *site) mac(host string) string {
	return strings.Fields(ip(s.t, "-n", s.ns(host), "-br", "link", "show", "eth0"))[2]
}

// untouched fails if a host has more interfaces, or other settings, than before.
func (s *site) untouched(host string) {
	s.t.Helper()
	if out := ip(s.t, "-n", s.ns(host), "-o", "link", "show", "type", "macvlan"); out != "" {
		s.t.Errorf("%s has a macvlan left: %s", host, out)
	}
	for _, name := range []string{"arp_ignore", "arp_announce"} {
		var is []byte
		s.within(host, func() { is, _ = os.ReadFile("/proc/sys/net/ipv4/conf/eth0/" + name) })
		if strings.TrimSpace(string(is)) != "0" {
			s.t.Errorf("%s of %s is %s", name, host, is)
		}
	}
}

// One MAC address, the same on both directors, from which adverts and announcements
// leave and which alone answers; nothing is left at the end.
func TestKernelVirtualMAC(t *testing.T) {
	s := pair(t)
	needKernel(t, "arping")
	const mac = "00:00:5e:00:01:33"
	seen := s.capture("c")
	c1, c2 := config(priority(200), interval(fast), virtualMAC), config(interval(fast), virtualMAC)
	d1, d2 := s.director("d1", c1), s.director("d2", c2)
	s.holder("d1", "d2", vip)
	one := func(when string) {
		t.Helper()
		if got := s.answers("c", vip.Addr()); !slices.Equal(got, []string{mac}) {
			t.Errorf("%s: answers from %v", when, got)
		}
	}
	one("at first")
	if got := s.answers("c", lb1); !slices.Equal(got, []string{s.mac("d1")}) {
		t.Errorf("the director's own address: answers from %v", got)
	}
	source := func(f frame) string {
		var b strings.Builder
		for i, x := range f.data[6:12] {
			if i > 0 {
				b.WriteByte(':')
			}
			const digits = "0123456789abcdef"
			b.WriteByte(digits[x>>4])
			b.WriteByte(digits[x&15])
		}
		return b.String()
	}
	for _, f := range seen.adverts(lb1) {
		if source(f) != mac {
			t.Errorf("an advert from %s", source(f))
		}
	}
	// A packet of the host's own from the address, whose next hop has to be resolved: the
	// request must not announce the address.
	ip(t, "-n", s.ns("d1"), "neigh", "flush", "dev", "eth0")
	s.within("d1", func() { udpFrom(t, vip.Addr(), "10.0.0.99:9") })
	eventually(t, "a question for the client's MAC address", func() bool {
		return len(seen.pick(0x0806, func(f frame) bool {
			b := f.data[14:]
			return len(b) >= 28 && b[7] == 1 && b[27] == 99 && source(f) == s.mac("d1")
		})) > 0
	})
	s.teaches(seen, mac)

	if st := d1.status(); st.Restored > 0 {
		t.Errorf("%d times something was restored that was not removed", st.Restored)
	}

	// A planned stop, a return, a kill.
	d1.end(syscall.SIGTERM)
	s.holder("d2", "d1", vip)
	one("after a handover")
	s.untouched("d1")
	d1 = s.director("d1", c1)
	s.holder("d1", "d2", vip)
	one("after a preemption")
	eventually(t, "the word of it", func() bool { return d1.became(Master, ReasonPreempt) })
	d1.end(syscall.SIGKILL)
	eventually(t, "takeover", func() bool { return s.holds("d2", vip) && s.holds("d1", vip) })
	changes := s.monitor("d1")
	d1 = s.director("d1", c1)
	// It receives a master, whose MAC address is that of its own leftover.
	eventually(t, "the word of it", func() bool { return d1.became(Backup, ReasonStart) && d1.became(Master, ReasonPreempt) })
	s.holder("d1", "d2", vip)
	changes.end(syscall.SIGTERM)
	if !changes.printed("Deleted", vip.Addr().String()) {
		t.Error("a restarted director kept the address while it was backup")
	}
	one("after a crash")
	s.teaches(seen, mac)
	d1.end(syscall.SIGTERM)
	d2.end(syscall.SIGTERM)
	s.untouched("d1")
	s.untouched("d2")
}

// teaches fails if any ARP frame from the address names another MAC address.
func (s *site) teaches(seen *capture, mac string) {
	s.t.Helper()
	four := vip.Addr().As4()
	for _, f := range seen.pick(0x0806, func(f frame) bool { b := f.data[14:]; return len(b) >= 28 && [4]byte(b[14:18]) == four }) {
		if b := f.data[14:]; b[8] != 0 || b[10] != 0x5e || b[13] != 0x33 {
			s.t.Errorf("the address is announced at % x, not at %s", b[8:14], mac)
		}
	}
}

// Killed and started again alone, it serves without a gap.
func TestKernelVirtualMACWithoutAGap(t *testing.T) {
	s := pair(t)
	cfg := config(interval(fast), virtualMAC)
	d := s.director("d1", cfg)
	eventually(t, "a master", func() bool { return d.state() == Master && s.holds("d1", vip) })
	d.end(syscall.SIGKILL)
	changes := s.start("d1", nil, "ip", "-4", "-o", "monitor", "address", "link")
	d = s.director("d1", cfg)
	eventually(t, "a master again", func() bool { return d.state() == Master })
	if !s.holds("d1", vip) {
		t.Error("the address is gone")
	}
	changes.end(syscall.SIGTERM)
	changes.mu.Lock()
	defer changes.mu.Unlock()
	if text := changes.log.String(); strings.Contains(text, "10.0.0.88") || strings.Contains(text, "lvsd4") {
		t.Errorf("it was touched:\n%s", text)
	}
	d.end(syscall.SIGTERM)
	s.untouched("d1")
}

func TestKernelVirtualMACIPv6(t *testing.T) {
	s := pair(t)
	const mac = "00:00:5e:00:02:33"
	six := func(c *Config) { c.Addresses, c.VirtualMAC = addrs6, true }
	ip(t, "-n", s.ns("c"), "address", "add", "2001:db8::99/64", "dev", "eth0", "nodad")
	for _, d := range []string{"d1", "d2"} {
		ip(t, "-n", s.ns(d), "route", "add", "2001:db8::/64", "dev", "eth0")
	}
	seen := s.capture("c")
	d1, d2 := s.director("d1", config(priority(200), interval(fast), six)), s.director("d2", config(interval(fast), six))
	s.holder("d1", "d2", vip6b)
	s.holder("d1", "d2", vip6)
	eventually(t, "a backup that hears", func() bool { return d2.state() == Backup && d2.status().AdvertsReceived > 0 })
	virtual := func(f frame) bool {
		return f.data[6] == 0 && f.data[8] == 0x5e && f.data[10] == 2 && f.data[11] == 0x33
	}
	isAdvert := func(f frame) bool { b := f.data[14:]; return len(b) >= 48 && b[6] == protocol }
	if all := seen.pick(0x86dd, isAdvert); len(all) == 0 || !virtual(all[0]) {
		t.Error("adverts from another MAC address")
	}
	// Both addresses answer, from the virtual MAC address.
	known := func(a string) {
		t.Helper()
		ip(t, "-n", s.ns("c"), "-6", "neigh", "flush", "dev", "eth0")
		eventually(t, a+" at "+mac, func() bool {
			_ = exec.Command("ip", "netns", "exec", s.ns("c"), "bash", "-c", "exec 3<>/dev/udp/"+a+"/9 && echo >&3").Run()
			return strings.Contains(ip(t, "-n", s.ns("c"), "-6", "neigh", "show", strings.TrimSuffix(a, "%eth0")), mac)
		})
	}
	known(vip6b.Addr().String())
	known(vip6.Addr().String() + "%eth0")
	d1.end(syscall.SIGTERM)
	s.holder("d2", "d1", vip6b)
	known(vip6b.Addr().String())
	s.untouched("d1")
	d2.end(syscall.SIGTERM)
	s.untouched("d2")
	for _, f := range seen.pick(0x86dd, func(f frame) bool {
		b := f.data[14:]
		return len(b) >= 72 && b[6] == 58 && b[40] == 136 && netip.AddrFrom16([16]byte(b[48:64])) == vip6b.Addr()
	}) {
		if !virtual(f) {
			t.Errorf("an advertisement of the address from % x", f.data[6:12])
		}
	}
}

// udpFrom sends one datagram from an address of the calling thread's host.
func udpFrom(t *testing.T, from netip.Addr, to string) {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}
