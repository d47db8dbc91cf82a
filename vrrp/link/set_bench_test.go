package link

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// BenchmarkSet measures adding and removing an address.
func BenchmarkSet(b *testing.B) {
	var ours []netip.Prefix
	for i := range 1000 {
		ours = append(ours, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	inNamespace(b, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			b.Fatal(err)
		}
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		for b.Loop() {
			must2(p.SetAddresses(ours, ours, false))
			must2(p.SetAddresses(ours, nil, false))
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*2*len(ours)), "µs/change")
	})
}
