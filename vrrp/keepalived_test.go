package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	vip6   = netip.MustParsePrefix("fe80::100/128")
	vip6b  = netip.MustParsePrefix("2001:db8::100/128")
	addrs6 = []netip.Prefix{vip6, vip6b}
)

// dialect is a form of VRRP: our configuration, and keepalived's for the same.
type dialect struct {
	name    string
	change  func(*Config)
	theirs  string // in vrrp_instance
	unicast bool
	v6      bool
}

var multicast3 = dialect{name: "version 3", change: func(*Config) {}, theirs: "version 3\nadvert_int 0.1\nvirtual_ipaddress { 10.0.0.88/32 }"}

var dialects = []dialect{
	multicast3,
	{name: "version 3, IPv6", v6: true, change: func(c *Config) { c.Addresses = addrs6 },
		theirs: "version 3\nadvert_int 0.1\nvirtual_ipaddress {\nfe80::100/128\n2001:db8::100/128\n}"},
	{name: "version 2", change: version2(""), theirs: "version 2\nadvert_int 1\nvirtual_ipaddress { 10.0.0.88/32 }"},
	{name: "version 2, password", change: version2("open sesame"),
		theirs: "version 2\nadvert_int 1\nauthentication {\nauth_type PASS\nauth_pass \"open ses\"\n}\nvirtual_ipaddress { 10.0.0.88/32 }"},
	{name: "version 3, unicast", change: func(*Config) {}, unicast: true,
		theirs: "version 3\nadvert_int 0.1\nvirtual_ipaddress { 10.0.0.88/32 }\nunicast_src_ip 10.0.0.13\nunicast_peer { 10.0.0.12 }"},
	{name: "version 2, unicast", change: version2(""), unicast: true,
		theirs: "version 2\nadvert_int 1\nvirtual_ipaddress { 10.0.0.88/32 }\nunicast_src_ip 10.0.0.13\nunicast_peer { 10.0.0.12 }"},
}

// macDialects are the same as those without a virtual MAC address.
var macDialects = []dialect{
	{name: "version 3, virtual MAC", change: virtualMAC,
		theirs: "version 3\nuse_vmac\nadvert_int 0.1\nvirtual_ipaddress { 10.0.0.88/32 }"},
	{name: "version 3, IPv6, virtual MAC", v6: true, change: func(c *Config) { c.Addresses, c.VirtualMAC = addrs6, true },
		theirs: "version 3\nuse_vmac\nadvert_int 0.1\nvirtual_ipaddress {\nfe80::100/128\n2001:db8::100/128\n}"},
}

// passwordIn is replaced by the test with a file that holds it.
const passwordIn = "password:"

func version2(password string) func(*Config) {
	return func(c *Config) {
		c.Version, c.AdvertInterval = 2, time.Second
		if password != "" {
			c.Authentication = Authentication{Type: "pass", KeyFile: passwordIn + password}
		}
	}
}

// config is the dialect's for the director at own, whose peer is other.
func (d dialect) config(t *testing.T, own, other netip.Addr, p uint8) Config {
	c := config(priority(p), interval(fast), d.change)
	if d.unicast {
		c.Source, c.Unicast = own, []netip.Addr{other}
	}
	if word, ok := strings.CutPrefix(c.Authentication.KeyFile, passwordIn); ok {
		c.Authentication.KeyFile = scratch(t, "key", word+"\n")
	}
	return c
}

func (d dialect) vip() netip.Prefix {
	if d.v6 {
		return vip6b
	}
	return vip
}

// keepalived as a peer, in each dialect and order of priority. Its version is logged.
func TestKernelBesideKeepalived(t *testing.T) {
	needKernel(t, "keepalived")
	orders := []struct {
		name         string
		ours, theirs uint8
	}{{"ours is better", 200, 100}, {"theirs is better", 100, 200}, {"equal, theirs has the greater address", 150, 150}}
	for i, d := range slices.Concat(dialects, macDialects) {
		for _, o := range orders {
			if i > 2 && o.ours == o.theirs {
				continue // of each version and family once
			}
			t.Run(d.name+"/"+o.name, func(t *testing.T) { besideKeepalived(t, d, o.ours, o.theirs) })
		}
	}
}

// keepalivedFile is keepalived's configuration of the instance in a dialect.
func keepalivedFile(t testing.TB, d dialect, priority uint8) string {
	return scratch(t, "keepalived.conf", fmt.Sprintf(`
global_defs { router_id peer }
vrrp_instance web {
  interface eth0
  state BACKUP
  virtual_router_id 51
  priority %d
  %s
}`, priority, d.theirs))
}

func (s *site) keepalived(host, file string) *process {
	return s.start(host, nil, "keepalived", "-n", "-l", "-D", "-f", file, "-p", file+".p", "-r", file+".r", "-c", file+".c")
}

func besideKeepalived(t *testing.T, dialect dialect, mine, theirs uint8) {
	s := pair(t)
	file := keepalivedFile(t, dialect, theirs)
	held := dialect.vip()
	peer := func() *process { return s.keepalived("d2", file) }
	ours := func() *process { return s.director("d1", dialect.config(t, lb1, lb2, mine)) }
	better, worse := "d1", "d2"
	if theirs >= mine {
		better, worse = "d2", "d1"
	}
	k, d := peer(), ours()
	if mine != theirs {
		s.holder(better, worse, held)
	} else {
		// The first stays master; if both are masters the address decides.
		eventually(t, "one holder", func() bool { return s.holds("d1", held) != s.holds("d2", held) })
	}
	// Theirs stops: we accept its priority 0.
	k.end(syscall.SIGTERM)
	s.holder("d1", "d2", held)
	k = peer()
	if theirs > mine {
		s.holder("d2", "d1", held) // it preempts
	}
	// Ours stops.
	said := func(words string) func() bool {
		return func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return strings.Contains(k.log.String(), words)
		}
	}
	if mine > theirs {
		eventually(t, "keepalived listens", said("Entering BACKUP STATE"))
	}
	d.end(syscall.SIGTERM)
	s.holder("d2", "d1", held)
	if mine > theirs {
		eventually(t, "keepalived understands the resignation", said("received priority 0"))
	}
	d = ours()
	if mine > theirs {
		s.holder("d1", "d2", held)
		// The address moves before the report arrives through the pipe.
		eventually(t, "the event of a preemption", func() bool { return d.became(Master, ReasonPreempt) })
	}
	var st Status
	eventually(t, "keepalived is heard, after the start", func() bool {
		st = d.status()
		return st.State != Init && st.AdvertsReceived > 0
	})
	if st.Alarm != "" || st.Mismatched > 0 || st.Checksums["rfc9568"] != 0 {
		t.Errorf("%+v", st)
	}
	for reason, n := range st.Dropped {
		if n > 0 {
			t.Errorf("%d adverts dropped: %s", n, reason)
		}
	}
	k.end(syscall.SIGTERM)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range strings.Split(k.log.String(), "\n") {
		if strings.Contains(line, "Starting Keepalived") {
			t.Log(line)
		}
		for _, word := range []string{"invalid", "mismatch", "bogus", "ncorrect", "Unknown", "checksum"} {
			if strings.Contains(line, word) {
				t.Errorf("keepalived complains: %s", line)
			}
		}
	}
}
