// Kernel settings that make a host a real server, a router or a thousand
// addresses. The programs that answer are in nginx.go and server.go.

package lab

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PrepareDR makes the host a real server for direct routing: each VIP is on lo, and the
// host neither answers ARP for it nor sends ARP from it.
func (h *Host) PrepareDR(vips ...string) {
	h.lab.tb.Helper()
	h.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
	h.SetSysctl("net.ipv4.conf.all.arp_announce", "2")
	h.holdVIPs("lo", vips)
}

// PrepareTUN makes the host a real server for IP-in-IP: the VIPs are on tunl0. The
// packets arrive with a client's source address on a device without a route to it, so
// rp_filter is loose there.
func (h *Host) PrepareTUN(vips ...string) {
	h.lab.tb.Helper()
	if _, err := h.ns.nl.LinkByName("tunl0"); err != nil {
		// The module's fallback device is in every namespace once the module is loaded;
		// creating a tunnel loads it.
		tun := &netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "lvsdtun"}, Local: net.IPv4(127, 0, 0, 1)}
		h.lab.must(h.ns.nl.LinkAdd(tun), "load the ipip module on %s", h.Name)
		h.lab.must(h.ns.nl.LinkDel(tun), "remove the probing tunnel on %s", h.Name)
	}
	h.lab.must(h.ns.linkUp("tunl0"), "bring tunl0 of %s up", h.Name)
	h.SetSysctl("net.ipv4.conf.tunl0.rp_filter", "2")
	h.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
	h.SetSysctl("net.ipv4.conf.all.arp_announce", "2")
	h.holdVIPs("tunl0", vips)
}

// PrepareNAT makes the host a real server behind a director's NAT: its replies go
// through the director.
func (h *Host) PrepareNAT(director string) {
	h.lab.tb.Helper()
	h.DefaultRoute(director)
}

// PrepareDirector lets a host forward, which NAT needs, without redirecting
// clients to shorter paths.
func (h *Host) PrepareDirector() {
	h.lab.tb.Helper()
	h.SetSysctl("net.ipv4.ip_forward", "1")
	h.SetSysctl("net.ipv6.conf.all.forwarding", "1")
	h.SetSysctl("net.ipv4.conf.all.send_redirects", "0")
	h.SetSysctl("net.ipv4.conf.eth0.send_redirects", "0")
}

func (h *Host) holdVIPs(dev string, vips []string) {
	h.lab.tb.Helper()
	for _, vip := range vips {
		a, err := netip.ParseAddr(vip)
		h.lab.must(err, "read the VIP")
		h.lab.must(h.addAddress(dev, netip.PrefixFrom(a, a.BitLen())), "give %s to %s of %s", vip, dev, h.Name)
	}
}

// DefaultRoute sets the host's default route of the gateway's family, replacing an earlier one.
func (h *Host) DefaultRoute(gateway string) {
	h.lab.tb.Helper()
	gw, err := netip.ParseAddr(gateway)
	h.lab.must(err, "read the gateway")
	link, err := h.ns.nl.LinkByName("eth0")
	h.lab.must(err, "find eth0 of %s", h.Name)
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gw.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	h.lab.must(h.ns.nl.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(all), Gw: gw.AsSlice(),
	}), "route everything of %s by %s", h.Name, gateway)
}

// Route sends a prefix to a gateway.
func (h *Host) Route(prefix, gateway string) {
	h.lab.tb.Helper()
	p, err := netip.ParsePrefix(prefix)
	h.lab.must(err, "read the prefix")
	gw, err := netip.ParseAddr(gateway)
	h.lab.must(err, "read the gateway")
	h.lab.must(h.ns.nl.RouteReplace(&netlink.Route{Dst: ipNet(p), Gw: gw.AsSlice()}),
		"route %s of %s by %s", prefix, h.Name, gateway)
}

// OnLink makes a prefix directly reachable over eth0, beside the host's own.
func (h *Host) OnLink(prefix string) {
	h.lab.tb.Helper()
	p, err := netip.ParsePrefix(prefix)
	h.lab.must(err, "read the prefix")
	link, err := h.ns.nl.LinkByName("eth0")
	h.lab.must(err, "find eth0 of %s", h.Name)
	h.lab.must(h.ns.nl.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(p), Scope: unix.RT_SCOPE_LINK,
	}), "put %s on the link of %s", prefix, h.Name)
}

// ServePrefix makes every address of a prefix local to the host, so that one host
// serves as thousands of real servers. It answers ARP for them, so that others reach
// them with OnLink or Route.
func (h *Host) ServePrefix(prefix string) {
	h.lab.tb.Helper()
	p, err := netip.ParsePrefix(prefix)
	h.lab.must(err, "read the prefix")
	lo, err := h.ns.nl.LinkByName("lo")
	h.lab.must(err, "find lo of %s", h.Name)
	h.lab.must(h.ns.nl.RouteReplace(&netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: ipNet(p), Scope: unix.RT_SCOPE_HOST,
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL,
	}), "make %s local to %s", prefix, h.Name)
}
