package vrrp

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// said counts a message in a director's log.
func (p *process) said(words string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.log.String(), words)
}

// Changes by another process of the addresses or the interface, on a real kernel: they
// are restored at once, logged and counted, or a fault; afterwards all is as before.
func TestKernelAddressIsGuarded(t *testing.T) {
	for _, mac := range []bool{false, true} {
		t.Run(fmt.Sprintf("virtual MAC %v", mac), func(t *testing.T) {
			s := pair(t)
			change := func(c *Config) { c.VirtualMAC = mac }
			d := s.director("d1", config(interval(fast), change))
			eventually(t, "a master", func() bool { return d.state() == Master && s.holds("d1", vip) })
			on := "eth0"
			if mac {
				for _, word := range strings.Fields(ip(t, "-n", s.ns("d1"), "-o", "link", "show", "type", "macvlan")) {
					if name, _, ok := strings.Cut(word, "@"); ok {
						on = name
						break
					}
				}
			}
			in := func(args ...string) { ip(t, append([]string{"-n", s.ns("d1")}, args...)...) }
			const putBack = "addresses removed by another process were restored"
			in("address", "del", vip.String(), "dev", on)
			eventually(t, "put back and counted", func() bool { return s.holds("d1", vip) && d.status().Restored > 0 })
			if n := d.status().Restored; n != 1 {
				t.Errorf("deleted once, and counted %d times", n)
			}
			// A flush continues until it finds nothing, and so may remove it twice.
			in("address", "flush", "to", vip.String())
			eventually(t, "put back and counted after a flush", func() bool { return s.holds("d1", vip) && d.status().Restored > 1 })
			if n := d.said(putBack); n == 0 || n > 2 {
				t.Errorf("logged %d times", n)
			}
			if st := d.status(); st.State != Master || len(d.events()) != 2 {
				t.Errorf("it moved: %+v, %v", st, d.events())
			}

			in("link", "set", "eth0", "down")
			eventually(t, "a fault", func() bool { return d.state() == Fault && !s.holds("d1", vip) })
			counted := d.status().Restored // what a fault withdraws is not counted
			in("link", "set", "eth0", "up")
			eventually(t, "a master again", func() bool { return d.state() == Master && s.holds("d1", vip) })

			in("link", "set", "eth0", "down")
			in("link", "set", "eth0", "name", "wan0")
			in("link", "set", "wan0", "up")
			eventually(t, "a fault, and no address on the renamed one", func() bool {
				st := d.status()
				return st.State == Fault && st.Reason == ReasonNoInterface && !s.holds("d1", vip)
			})
			in("link", "set", "wan0", "down")
			in("link", "set", "wan0", "name", "eth0")
			in("link", "set", "eth0", "up")
			eventually(t, "a master again", func() bool { return d.state() == Master && s.holds("d1", vip) })

			in("link", "del", "eth0")
			eventually(t, "a fault", func() bool { st := d.status(); return st.State == Fault && st.Reason == ReasonNoInterface })
			s.plug("d1", lb1)
			eventually(t, "a master on the new one", func() bool { return d.state() == Master && s.holds("d1", vip) })
			if n := d.status().Restored; n != counted {
				t.Errorf("%d were put back, of %d", n, counted)
			}
			d.end(syscall.SIGTERM)
			if s.holds("d1", vip) {
				t.Error("the address is left")
			}
		})
	}
}
