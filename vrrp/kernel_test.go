package vrrp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const fast = 100 * time.Millisecond

func pair(t *testing.T) *site {
	needKernel(t)
	t.Parallel()
	s := newSite(t)
	s.host("d1", lb1)
	s.host("d2", lb2)
	s.host("c", netip.MustParseAddr("10.0.0.99"))
	return s
}

// holder waits until exactly one of the two holds the address, and that it is
// the wanted one.
func (s *site) holder(want, other string, p netip.Prefix) {
	s.t.Helper()
	eventually(s.t, p.String()+" on "+want+" and not on "+other, func() bool { return s.holds(want, p) && !s.holds(other, p) })
}

func TestKernelPair(t *testing.T) {
	s := pair(t)
	seen := s.capture("c")
	excluded := func(c *Config) { c.Excluded = []netip.Prefix{extra} }
	c1, c2 := config(priority(200), interval(fast), excluded), config(priority(100), interval(fast), excluded)
	d1, d2 := s.director("d1", c1), s.director("d2", c2)
	s.holder("d1", "d2", vip)
	s.holder("d1", "d2", extra)
	eventually(t, "both forms of gratuitous ARP for both addresses", func() bool {
		return seen.arps(1, vip.Addr()) > 0 && seen.arps(2, vip.Addr()) > 0 && seen.arps(1, extra.Addr()) > 0 && seen.arps(2, extra.Addr()) > 0
	})
	// What is sent: TTL 255, precedence, our primary address, the checksum of RFC 5798.
	adverts := seen.adverts(lb1)
	header, message := adverts[0].data[14:34], adverts[0].data[34:46]
	if header[1] != 0xc0 || header[8] != 255 || [4]byte(header[16:20]) != multicastIPv4.As4() {
		t.Errorf("IP header %x", header)
	}
	want := Advert{51, 200, fast, []netip.Addr{vip.Addr()}, RFC5798}.Append(nil, lb1, multicastIPv4)
	if hex.EncodeToString(message) != hex.EncodeToString(want) {
		t.Errorf("advert %x, want %x", message, want)
	}
	// The host's own traffic does not come from the virtual address, even when
	// the interface's own was added after it.
	ip(t, "-n", s.ns("d1"), "address", "replace", "10.0.0.12/24", "dev", "eth0")
	for _, to := range []string{"10.0.0.99", "10.0.0.1"} {
		if out := ip(t, "-n", s.ns("d1"), "route", "get", to); !strings.Contains(out, "src 10.0.0.12") {
			t.Errorf("packets to %s: %s", to, out)
		}
	}
	if st := d1.status(); st.State != Master || !st.HasVIPs || st.AdvertsSent == 0 || st.Announcements < 4 {
		t.Errorf("%+v", st)
	}
	if st := d2.status(); st.State != Backup || st.Master != lb1 || st.MasterPriority != 200 || st.HasVIPs || st.AdvertsReceived == 0 {
		t.Errorf("%+v", st)
	}

	// A planned stop.
	d1.end(syscall.SIGTERM)
	s.holder("d2", "d1", vip)
	eventually(t, "the word of it", func() bool { return d2.became(Master, ReasonResigned) })
	// Return and preemption.
	d1 = s.director("d1", c1)
	s.holder("d1", "d2", vip)
	eventually(t, "the word of it", func() bool { return d1.became(Master, ReasonPreempt) })
	// Killed: the address stays on it, and the other takes over.
	d1.end(syscall.SIGKILL)
	eventually(t, "takeover", func() bool { return s.holds("d2", vip) && s.holds("d1", vip) })
	// Restarted: it receives a master, removes the address, and preempts later.
	changes := s.monitor("d1")
	d1 = s.director("d1", c1)
	eventually(t, "the word of it", func() bool { return d1.became(Backup, ReasonStart) && d1.became(Master, ReasonPreempt) })
	s.holder("d1", "d2", vip)
	changes.end(syscall.SIGTERM)
	if !changes.printed("Deleted", vip.Addr().String()) {
		t.Error("a restarted director kept the address while it was backup")
	}
	d1.end(syscall.SIGTERM)
	d2.end(syscall.SIGTERM)
	if s.holds("d1", vip) || s.holds("d2", vip) || s.holds("d1", extra) || s.holds("d2", extra) {
		t.Error("addresses outlive the directors")
	}
}

// Alone, a killed director that comes back serves without a gap.
func TestKernelLeftoverWithoutAGap(t *testing.T) {
	s := pair(t)
	cfg := config(interval(fast))
	d := s.director("d1", cfg)
	eventually(t, "a master", func() bool { return d.state() == Master && s.holds("d1", vip) })
	d.end(syscall.SIGKILL)
	changes := s.monitor("d1")
	d = s.director("d1", cfg)
	eventually(t, "a master again", func() bool { return d.state() == Master })
	if !s.holds("d1", vip) {
		t.Error("the address is gone")
	}
	changes.end(syscall.SIGTERM)
	if changes.printed(vip.Addr().String()) {
		t.Error("the address was touched")
	}
}

func TestKernelLinkLoss(t *testing.T) {
	s := pair(t)
	c1, c2 := config(priority(200), interval(fast)), config(interval(fast))
	d1, d2 := s.director("d1", c1), s.director("d2", c2)
	s.holder("d1", "d2", vip)

	began := time.Now()
	s.port("d1", "down") // the cable is cut
	eventually(t, "takeover", func() bool { return d2.became(Master, ReasonSilence) })
	t.Logf("takeover after a cut cable, 100 ms adverts: %v (3.61 intervals are 361 ms)", time.Since(began).Round(time.Millisecond))
	s.holder("d2", "d1", vip)
	eventually(t, "fault", func() bool { return d1.became(Fault, ReasonLinkDown) })
	s.port("d1", "up")
	s.holder("d1", "d2", vip)

	ip(t, "-n", s.ns("d1"), "link", "set", "eth0", "down") // by an administrator
	s.holder("d2", "d1", vip)
	ip(t, "-n", s.ns("d1"), "link", "set", "eth0", "up")
	s.holder("d1", "d2", vip)

	// Its own address is removed, and another one is added.
	ip(t, "-n", s.ns("d1"), "address", "del", "10.0.0.12/24", "dev", "eth0")
	s.holder("d2", "d1", vip)
	eventually(t, "fault", func() bool { return d1.became(Fault, ReasonNoAddress) })
	ip(t, "-n", s.ns("d1"), "address", "add", "10.0.0.14/24", "dev", "eth0")
	s.holder("d1", "d2", vip)
	if m := d2.status().Master; m != netip.MustParseAddr("10.0.0.14") {
		t.Errorf("adverts come from %v", m)
	}

	// The interface is deleted, and another one of its name is created.
	ip(t, "-n", s.ns("d1"), "link", "del", "eth0")
	eventually(t, "fault", func() bool { st := d1.status(); return st.State == Fault && st.Reason == ReasonNoInterface })
	eventually(t, "takeover", func() bool { return s.holds("d2", vip) })
	s.plug("d1", lb1)
	s.holder("d1", "d2", vip)
}

// All packets are lost although there is carrier: two masters, of which one resigns
// when they receive each other again, with announcements.
func TestKernelSilenceWithCarrier(t *testing.T) {
	s := pair(t)
	d1, d2 := s.director("d1", config(priority(200), interval(fast))), s.director("d2", config(interval(fast)))
	s.holder("d1", "d2", vip)
	s.port("d1", "type", "bridge_slave", "isolated", "on")
	s.port("d2", "type", "bridge_slave", "isolated", "on")
	eventually(t, "two masters", func() bool { return s.holds("d1", vip) && s.holds("d2", vip) })
	seen := s.capture("c")
	healed := time.Now()
	s.port("d1", "type", "bridge_slave", "isolated", "off")
	eventually(t, "one master", func() bool { return d2.state() == Backup })
	events := d2.events()
	t.Logf("two masters settled %v after healing, 100 ms adverts", events[len(events)-1].At.Sub(healed).Round(time.Millisecond))
	s.holder("d1", "d2", vip)
	// If d2's advert came first, d1 received it and announces at once; else at its next
	// repeat. Either way the neighbours are informed.
	eventually(t, "an announcement", func() bool { return seen.arps(1, vip.Addr()) > 0 && seen.arps(2, vip.Addr()) > 0 })
	if d1.became(Backup, ReasonHigherPriority) {
		t.Error("the better master stepped back")
	}
}

func TestKernelAddressTakenAway(t *testing.T) {
	s := pair(t)
	d := s.director("d1", config(interval(fast)))
	eventually(t, "a master", func() bool { return d.state() == Master && s.holds("d1", vip) })
	ip(t, "-n", s.ns("d1"), "address", "del", vip.String(), "dev", "eth0")
	eventually(t, "put back", func() bool { return s.holds("d1", vip) })
	if d.state() != Master {
		t.Errorf("%v", d.state())
	}
}

// What Open refuses, with the remedy, and leaves nothing behind.
func TestKernelOpenRefuses(t *testing.T) {
	s := pair(t)
	s.host("bare", netip.Addr{})
	open := func(host string, cfg Config) (err error) {
		s.within(host, func() {
			var e *Engine
			if e, err = Open(cfg, Options{}); err == nil {
				_ = e.Close()
			}
		})
		return err
	}
	for _, tt := range []struct {
		name, host string
		cfg        Config
		says       []string
	}{
		{"no interface", "d1", config(func(c *Config) { c.Interface = "eth7" }), []string{"eth7", "ip link"}},
		{"no address", "bare", config(), []string{"eth0", "no IPv4 address", "ip address add"}},
		{"a bad value", "d1", config(priority(0)), []string{"priority 0"}},
	} {
		err := open(tt.host, tt.cfg)
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		for _, w := range tt.says {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", tt.name, err, w)
			}
		}
	}
	if err := open("d1", config()); err != nil {
		t.Errorf("refused: %v", err)
	}
	for _, tt := range []struct {
		host string
		cfg  Config
	}{{"d1", config(awaitInterface, func(c *Config) { c.Interface = "eth7" })}, {"bare", config(awaitInterface)}} {
		if err := open(tt.host, tt.cfg); err != nil {
			t.Errorf("does not wait for %s of %s: %v", tt.cfg.Interface, tt.host, err)
		}
	}
	if s.holds("d1", vip) {
		t.Error("Open changed the interface")
	}

	// Linux has capabilities per thread: one drops its own and ends.
	for _, tt := range []struct {
		capability string
		bit        uint
	}{{"CAP_NET_RAW", unix.CAP_NET_RAW}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		got := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			got <- func() error {
				var err error
				s.withoutReturn("d1")
				if err = dropCapability(tt.bit); err != nil {
					return fmt.Errorf("test: %w", err)
				}
				e, err := Open(config(awaitInterface), Options{})
				if err == nil {
					_ = e.Close()
				}
				return err
			}()
		}()
		if err := <-got; err == nil || !strings.Contains(err.Error(), tt.capability) || !strings.Contains(err.Error(), "root") {
			t.Errorf("without %s: %v", tt.capability, err)
		}
	}
}

func dropCapability(bit uint) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return err
	}
	d[bit/32].Effective &^= 1 << (bit % 32)
	return unix.Capset(&h, &d[0])
}

// Two of ours over IPv6: the client's neighbour entry follows the address, and
// what leaves is from link-local, with hop limit 255.
func TestKernelPairIPv6(t *testing.T) {
	s := pair(t)
	six := func(c *Config) { c.Addresses = addrs6 }
	ip(t, "-n", s.ns("c"), "address", "add", "2001:db8::99/64", "dev", "eth0", "nodad")
	seen := s.capture("c")
	d1, d2 := s.director("d1", config(priority(200), interval(fast), six)), s.director("d2", config(interval(fast), six))
	s.holder("d1", "d2", vip6b)
	s.holder("d1", "d2", vip6)
	announced := func() int {
		return len(seen.pick(0x86dd, func(f frame) bool {
			b := f.data[14:]
			return len(b) >= 72 && b[6] == 58 && b[40] == 136 && netip.AddrFrom16([16]byte(b[48:64])) == vip6b.Addr()
		}))
	}
	eventually(t, "an advertisement", func() bool { return announced() > 0 })
	adverts := seen.pick(0x86dd, func(f frame) bool { b := f.data[14:]; return len(b) >= 48 && b[6] == protocol })
	b := adverts[0].data[14:]
	if source := netip.AddrFrom16([16]byte(b[8:24])); !source.IsLinkLocalUnicast() || b[7] != 255 || b[0] != 0x6c || // traffic class 0xc0

		netip.AddrFrom16([16]byte(b[24:40])) != multicastIPv6 {
		t.Errorf("header %x", b[:40])
	}
	eventually(t, "a backup that hears", func() bool { return d2.state() == Backup && d2.status().AdvertsReceived > 0 })
	// The client asks, then the master leaves: its entry must change without asking.
	ip(t, "-n", s.ns("c"), "-6", "neigh", "add", vip6b.Addr().String(), "dev", "eth0", "lladdr", "02:00:00:00:00:01", "nud", "stale")
	entry := func() string { return ip(t, "-n", s.ns("c"), "-6", "neigh", "show", vip6b.Addr().String()) }
	d1.end(syscall.SIGTERM)
	s.holder("d2", "d1", vip6b)
	mac := strings.Fields(ip(t, "-n", s.ns("d2"), "-br", "link", "show", "eth0"))[2]
	eventually(t, "the neighbour entry of the client is "+mac, func() bool { return strings.Contains(entry(), mac) })
	eventually(t, "the word of it", func() bool { return d2.became(Master, ReasonResigned) })
	d2.end(syscall.SIGTERM)
	if s.holds("d1", vip6b) || s.holds("d2", vip6b) || s.holds("d2", vip6) {
		t.Error("addresses outlive the directors")
	}
}
