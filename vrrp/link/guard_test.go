package link

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/vishvananda/netlink"
)

// Another host announces one of our addresses, and replies for it when asked.
func TestGuard(t *testing.T) {
	for family, vips := range map[Family][]netip.Prefix{IPv4: prefixes("10.0.0.88/32"), IPv6: prefixes("2001:db8::88/128")} {
		inNamespace(t, func() {
			peer := must(netlink.LinkByName("peer0"))
			if err := netlink.LinkSetUp(peer); err != nil {
				t.Fatal(err)
			}
			mine, other := must(Open("eth0", family, Router{})), must(Open("peer0", family, Router{}))
			defer mine.Close()
			defer other.Close()
			var source netip.Addr
			for limit := time.Now().Add(10 * time.Second); !source.IsValid(); time.Sleep(10 * time.Millisecond) {
				if source = must(mine.State(vips, netip.Addr{}, false)).Primary; time.Now().After(limit) {
					t.Fatal("no source address")
				}
			}
			must2(mine.SetAddresses(vips, vips, false))
			must2(other.SetAddresses(vips, vips, false))
			found := make(chan Sighting, 100)
			addrs := []netip.Addr{vips[0].Addr()}
			if err := mine.Guard(addrs, func(s Sighting) { found <- s }); err != nil {
				t.Fatal(err)
			}
			see := func(solicited bool, cause func() error) {
				t.Helper()
				for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); {
					if err := cause(); err != nil { // again: a frame may be lost
						t.Fatal(err)
					}
					select {
					case s := <-found:
						if s.Address != addrs[0] || s.MAC != peer.Attrs().HardwareAddr.String() {
							t.Errorf("%+v", s)
						}
						if s.Solicited == solicited {
							return
						}
					case <-time.After(100 * time.Millisecond):
					}
				}
				t.Fatalf("family %d: nothing that is solicited: %v", family, solicited)
			}
			announce := func() error {
				_, err := other.Announce(addrs)
				return err
			}
			must(mine.Announce(addrs)) // our own is none
			see(false, announce)
			see(true, func() error { return mine.Probe(addrs, source) })
			// Other addresses from now on, then these again.
			for _, some := range [][]netip.Addr{{netip.IPv6Unspecified()}, nil, addrs} {
				if family == IPv4 && len(some) > 0 && some[0].Is6() {
					some = []netip.Addr{netip.IPv4Unspecified()}
				}
				if err := mine.Guard(some, nil); err != nil {
					t.Fatal(err)
				}
			}
			see(false, announce)
		})
	}
}

// An interface that goes ends the listening; it begins again with the next one.
func TestGuardOfAnInterfaceThatGoes(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		addrs := []netip.Addr{netip.MustParseAddr("10.0.0.88")}
		guard := func() {
			t.Helper()
			if err := p.Guard(addrs, func(Sighting) {}); err != nil {
				t.Error(err)
			}
		}
		guard()
		first := p.guard
		if err := netlink.LinkDel(must(netlink.LinkByName("eth0"))); err != nil {
			t.Fatal(err)
		}
		<-first.ended
		guard()
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		guard()
		if p.guard == nil || p.guard == first {
			t.Error("it does not listen on the new interface")
		}
	})
}

// An address of ours on another interface of this host is found, but not on one that
// does not answer ARP.
func TestElsewhere(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		vips := prefixes("10.0.0.88/32", "10.0.0.89/32")
		if s := must(p.State(vips, netip.Addr{}, false)); len(s.Elsewhere) > 0 {
			t.Errorf("%+v", s.Elsewhere)
		}
		for name, q := range map[string]string{"peer0": "10.0.0.88/24", "lo": "10.0.0.89/32"} {
			if err := netlink.AddrAdd(must(netlink.LinkByName(name)), &netlink.Addr{IPNet: must(netlink.ParseIPNet(q))}); err != nil {
				t.Fatal(err)
			}
		}
		if s := must(p.State(vips, netip.Addr{}, false)); !slices.Equal(s.Elsewhere, []LocalHolder{{vips[0].Addr(), "peer0"}}) || len(s.Present) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestParseARP(t *testing.T) {
	own, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 9}
	vip, peer := netip.MustParseAddr("10.0.0.88"), netip.MustParseAddr("10.0.0.12")
	frame := func(op arp.Operation, to net.HardwareAddr) []byte {
		body := must(must(arp.NewPacket(op, other, vip, own, peer)).MarshalBinary())
		return must((&ethernet.Frame{Destination: to, Source: other, EtherType: ethernet.EtherTypeARP, Payload: body}).MarshalBinary())
	}
	for _, tt := range []struct {
		op        arp.Operation
		to        net.HardwareAddr
		solicited bool
	}{
		{arp.OperationReply, own, true},
		{arp.OperationReply, ethernet.Broadcast, false},
		{arp.OperationRequest, own, false},
	} {
		if s, ok := parseARP(frame(tt.op, tt.to), own); !ok || s != (Sighting{Address: vip, MAC: other.String(), Solicited: tt.solicited}) {
			t.Errorf("%v to %v: %+v, %v", tt.op, tt.to, s, ok)
		}
	}
	whole := frame(arp.OperationReply, own)
	for n := range arpFrame + 28 {
		if _, ok := parseARP(whole[:n], own); ok {
			t.Errorf("%d octets are taken", n)
		}
	}
	six := slices.Clone(whole)
	six[arpFrame+5] = 16 // addresses of 16 octets
	if s, ok := parseARP(append(six, make([]byte, 64)...), own); ok {
		t.Errorf("%+v", s)
	}
}

// An address that another port wants stays when this one gives it up.
func TestClaimedAddressStays(t *testing.T) {
	inNamespace(t, func() {
		both, x, y := prefixes("10.0.0.88/32", "10.0.0.89/32"), prefixes("10.0.0.88/32"), prefixes("10.0.0.89/32")
		a, b := must(Open("eth0", IPv4, Router{})), must(Open("eth0", IPv4, Router{}))
		defer a.Close()
		must2(a.SetAddresses(both, both, false))
		if held, added, err := b.SetAddresses(x, x, false); err != nil || !slices.Equal(held, x) || len(added) > 0 {
			t.Errorf("%v, %v, %v", held, added, err)
		}
		updates := make(chan netlink.AddrUpdate, 10)
		done := make(chan struct{})
		defer close(done)
		if err := netlink.AddrSubscribe(updates, done); err != nil {
			t.Fatal(err)
		}
		if held, _, err := a.SetAddresses(both, y, false); err != nil || !slices.Equal(held, y) {
			t.Errorf("%v, %v", held, err)
		}
		if s := must(a.State(both, netip.Addr{}, false)); !slices.Equal(s.Present, both) {
			t.Errorf("%+v", s)
		}
		must2(b.SetAddresses(x, nil, false)) // it resigns
		if s := must(a.State(both, netip.Addr{}, false)); !slices.Equal(s.Present, y) {
			t.Errorf("%+v", s)
		}
		if u := <-updates; u.NewAddr || u.LinkAddress.IP.String() != "10.0.0.88" {
			t.Errorf("%+v", u)
		}
		// A closed port wants no addresses.
		must2(b.SetAddresses(y, y, false))
		_ = b.Close()
		must2(a.SetAddresses(y, nil, false))
		if s := must(a.State(both, netip.Addr{}, false)); len(s.Present) > 0 {
			t.Errorf("%+v", s)
		}
	})
}
