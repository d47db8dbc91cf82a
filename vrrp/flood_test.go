package vrrp

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// floodOf is a packet that a host sends very often.
type floodOf struct {
	name   string
	packet evil
	drop   DropReason // for which it is dropped
}

// floods are packets from an address that loses every tie.
func floods() (all []floodOf) {
	from := netip.MustParseAddr("10.0.0.3")
	for _, f := range []struct {
		name           string
		vrid, priority uint8
		drop           DropReason
	}{
		{"lower priority", 51, 1, DropNone}, {"equal priority", 51, 200, DropNone},
		{"another virtual router", 99, 1, DropVRID}, {"bad checksum", 51, 1, DropChecksum},
	} {
		a := Advert{f.vrid, f.priority, time.Second, []netip.Addr{vip.Addr()}, RFC5798}
		packet := evil{source: from, destination: multicastIPv4, ttl: 255, payload: a.Append(nil, from, multicastIPv4)}
		if f.drop == DropChecksum {
			packet.payload[6]++
		}
		all = append(all, floodOf{f.name, packet, f.drop})
	}
	return all
}

// A flood changes no state: each packet is counted, also those that arrive while the receiver
// pauses, and few are answered.
func TestKernelFlood(t *testing.T) {
	s := pair(t)
	master, backup := s.director("d1", config(priority(200))), s.director("d2", config(priority(100)))
	s.holder("d1", "d2", vip)
	eventually(t, "a backup that hears", func() bool { return backup.status().AdvertsReceived > 0 })
	events := len(master.events()) + len(backup.events())
	attacker := newStranger(s, "c")
	for _, f := range floods() {
		const packets = 1000
		began, before := time.Now(), master.status()
		for range packets {
			attacker.send(f.packet)
		}
		counted := func(st Status) uint64 {
			if f.drop != DropNone {
				return st.Dropped[f.drop.String()]
			}
			return st.AdvertsReceived
		}
		eventually(t, f.name+": all are counted", func() bool { return counted(master.status())-counted(before) >= packets })
		sent, bound := master.status().AdvertsSent-before.AdvertsSent, uint64((time.Since(began)/time.Second+2)*(answersPerInterval+1))
		if sent > bound {
			t.Errorf("%s: %d adverts in answer", f.name, sent)
		}
	}
	if n := len(master.events()) + len(backup.events()); n != events || !s.holds("d1", vip) || s.holds("d2", vip) {
		t.Errorf("it moved the address: %v %v", master.events(), backup.events())
	}
}

// What a packet of a flood, a thousand or five thousand a second, costs a master of lvsd's and one of
// keepalived's in processor time. `make bench-flood` runs it long enough for a clock of 10 ms.
func BenchmarkKernelFlood(b *testing.B) {
	for _, peer := range []string{"lvsd", "keepalived"} {
		b.Run(peer, func(b *testing.B) {
			needKernel(b)
			s := newSite(b)
			s.host("d1", lb1)
			s.host("d2", lb2)
			s.host("c", netip.MustParseAddr("10.0.0.99"))
			start := func(host string, p uint8) *process { return s.director(host, config(priority(p))) }
			if peer == "keepalived" {
				needKernel(b, peer)
				d := dialect{theirs: "version 3\nadvert_int 1\nvirtual_ipaddress { 10.0.0.88/32 }"}
				start = func(host string, p uint8) *process { return s.keepalived(host, keepalivedFile(b, d, p)) }
			}
			master := start("d1", 200)
			start("d2", 100)
			s.holder("d1", "d2", vip)
			attacker := newStranger(s, "c")
			for _, f := range floods() {
				for _, rate := range []int{1000, 5000} {
					b.Run(f.name+"/"+strconv.Itoa(rate), func(b *testing.B) {
						before, began := master.busy(), time.Now()
						for i := range b.N {
							if i%50 == 0 {
								<-time.After(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
							}
							attacker.send(f.packet)
						}
						b.ReportMetric(float64(master.busy()-before)/float64(b.N), "cpu-ns/packet")
						b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "packets/s")
						b.ReportMetric(0, "ns/op")
						if moved := !s.holds("d1", vip) || s.holds("d2", vip); moved && peer == "lvsd" {
							b.Error("the address moved")
						} else if moved {
							b.ReportMetric(1, "moved")
							s.holder("d1", "d2", vip) // before the next
						}
					})
				}
			}
		})
	}
}

// busy is the processor time of the process and its children, to 10 ms.
func (p *process) busy() (sum time.Duration) {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	for _, pid := range append(strings.Fields(string(children)), pid) {
		text, _ := os.ReadFile("/proc/" + pid + "/stat")
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 12 {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			sum += time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return sum
}
