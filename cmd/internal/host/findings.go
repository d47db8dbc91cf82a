package host

// What a director needs of its kernel besides IPVS itself: found, compared
// with what the configuration asks for, and explained.

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"lvsd/cmd/internal/sysctl"
	"lvsd/config"
)

// Finding is one setting or module of this host that the configuration needs.
type Finding struct {
	Kind string `json:"kind"` // "sysctl" "module" "nftables" "address" "routing"
	Name string `json:"name"`
	Have string `json:"have"` // "" = there is none
	Want string `json:"want"`
	OK   bool   `json:"ok"`
	Why  string `json:"why"`
	// Remedy is what to do, as a command where there is one.
	Remedy string `json:"remedy,omitempty"`

	manual bool   // Prepare leaves the remedy to a person
	rules  string // of nftables: what is to be loaded
}

// Automatic reports whether Prepare has something to do for it.
func (f Finding) Automatic() bool { return !f.OK && !f.manual && f.Remedy != "" }

// String is the finding as a warning.
func (f Finding) String() string {
	have := f.Have
	if have == "" {
		have = "missing"
	}
	text := fmt.Sprintf("%s = %s, must be %s: %s", f.Name, have, f.Want, f.Why)
	if f.Remedy != "" {
		text += " (" + f.Remedy + ")"
	}
	return text
}

// uses is what of the configuration matters here.
type uses struct {
	nat4, nat6 []netip.Addr // real servers by nat
	dr, tun    bool
	engines    []string
	schedulers []string
	interfaces []string // of the instances
	virtualMAC bool
}

func usesOf(c *config.Config) uses {
	var u uses
	for _, s := range c.Services {
		u.schedulers = append(u.schedulers, s.Scheduler)
		if s.PersistenceEngine != "" {
			u.engines = append(u.engines, s.PersistenceEngine)
		}
		add := func(forward string, a netip.Addr) {
			switch {
			case forward == "nat" && a.Is4():
				u.nat4 = append(u.nat4, a)
			case forward == "nat" && a.Is6():
				u.nat6 = append(u.nat6, a)
			case forward == "dr":
				u.dr = true
			case forward == "tun":
				u.tun = true
			}
		}
		for _, rs := range s.RealServers {
			add(rs.Forward, rs.Address.Addr())
		}
		if s.Fallback.IsValid() {
			add(s.FallbackForward, s.Fallback.Addr())
		}
	}
	for _, e := range c.Instances {
		u.interfaces = slices.AppendSeq(append(u.interfaces, e.Interface), maps.Values(e.Interfaces))
		u.virtualMAC = u.virtualMAC || e.VirtualMAC
	}
	for _, list := range []*[]netip.Addr{&u.nat4, &u.nat6} {
		slices.SortFunc(*list, netip.Addr.Compare)
		*list = slices.Compact(*list)
	}
	for _, list := range []*[]string{&u.schedulers, &u.engines, &u.interfaces} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return u
}

// Findings looks at everything that the configuration needs of this host's
// kernel. It changes nothing.
func Findings(c *config.Config) []Finding {
	u := usesOf(c)
	all := modules(u)
	all = append(all, forwarding(u)...)
	all = append(all, arp(c, u)...)
	all = append(all, filters(u)...)
	all = append(all, tables(c, u)...)
	all = append(all, announcing(c)...)
	all = append(all, masquerading(u)...)
	return append(all, syncSources(c.IPVS.Sync)...)
}

// forwarding finds whether packets between clients and real servers by nat get
// through this host, and no client may be redirected to a shorter path.
func forwarding(u uses) []Finding {
	var all []Finding
	if len(u.nat4) > 0 {
		all = append(all, compare("net.ipv4.ip_forward", "1", equal, `required for forward = "nat": replies are routed through the director`),
			compare("net.ipv4.conf.all.send_redirects", "0", equal, "otherwise the kernel redirects real servers in the clients' network to reply directly, without translation"))
		for _, dev := range devices(u.nat4) {
			all = append(all, compare("net.ipv4.conf."+dev+".send_redirects", "0", equal, "as for all: redirects are sent if either of the two is 1"))
		}
	}
	if len(u.nat6) > 0 {
		all = append(all, compare("net.ipv6.conf.all.forwarding", "1", equal, `required for forward = "nat": replies are routed through the director; router advertisements are then accepted only with accept_ra = 2`))
	}
	return all
}

// arp finds whether the instance's addresses would be answered for, and interfaces with
// addresses that they should not have.
func arp(c *config.Config, u uses) []Finding {
	var all []Finding
	for _, dev := range u.interfaces {
		for _, scope := range []string{"all", dev} {
			// The larger of the two holds (ip-sysctl.rst); 8 answers for nothing.
			if name := "net.ipv4.conf." + scope + ".arp_ignore"; value(name) == "8" {
				all = append(all, compare(name, "0", equal, "8 replies to ARP for no address, so clients do not find the services"))
			}
		}
	}
	moving := map[netip.Addr]string{}
	for _, e := range c.Instances {
		for _, p := range append(slices.Clone(e.Addresses), e.ExcludedAddresses...) {
			moving[p.Addr()] = cmp.Or(e.Interfaces[p.Addr()], e.Interface)
		}
	}
	announced := map[netip.Addr]bool{}
	for _, a := range c.Announces {
		for _, address := range a.Addresses {
			announced[address] = true
		}
	}
	links, _ := net.Interfaces()
	for _, l := range links {
		addrs, _ := l.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			ip = ip.Unmap()
			f := Finding{Kind: "address", Name: fmt.Sprintf("address %s", ip), Have: "on " + l.Name}
			if on, moves := moving[ip]; moves && on != l.Name && !ofVirtualMAC(l.Name) {
				f.Want, f.Why = "on "+on+" alone, of the master", "with a permanent address this host accepts its packets even while it is not master; a director cannot be a real server of the same address"
				all = append(all, f)
			}
			if announced[ip] {
				f.Want, f.Why = "on no interface", "lvsd does not start while an interface has an announced address, which FRR would not announce: a route makes this host accept its packets"
				f.Remedy, f.manual = fmt.Sprintf("ip address del %s dev %s", n, l.Name), true
				all = append(all, f)
			}
			for _, address := range slices.SortedFunc(maps.Keys(announced), netip.Addr.Compare) {
				if address != ip && l.Flags&net.FlagLoopback == 0 && n.Contains(address.AsSlice()) {
					all = append(all, Finding{Kind: "address", Name: fmt.Sprintf("address %s", address), Want: "outside of this host's networks", manual: true,
						Have: fmt.Sprintf("in %s of %s", netip.PrefixFrom(ip, ones(n)).Masked(), l.Name), Why: "hosts of that network ask for an announced address by ARP or ND, and no director replies"})
				}
			}
		}
	}
	return all
}

// ones is the length of a network's prefix.
func ones(n *net.IPNet) int {
	length, _ := n.Mask.Size()
	return length
}

// ofVirtualMAC reports whether an interface is the macvlan of an instance with
// virtual_mac (vrrp/link names them).
func ofVirtualMAC(name string) bool {
	return strings.HasPrefix(name, "lvsd4-") || strings.HasPrefix(name, "lvsd6-")
}

// filters finds a source check that would drop clients: those from elsewhere
// come in on the instance's interface, while the way back to them, the default
// route, is another's.
func filters(u uses) []Finding {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for _, r := range routes {
		for _, hop := range append([]*netlink.NexthopInfo{{LinkIndex: r.LinkIndex}}, r.MultiPath...) {
			if l, err := netlink.LinkByIndex(hop.LinkIndex); err == nil {
				out[l.Attrs().Name] = true
			}
		}
	}
	var all []Finding
	for _, dev := range u.interfaces {
		// The larger of all and the device's own holds; 1 is the strict check.
		own, general := value("net.ipv4.conf."+dev+".rp_filter"), value("net.ipv4.conf.all.rp_filter")
		if len(out) == 0 || out[dev] || own == "" || max(own, general) != "1" {
			continue
		}
		all = append(all, compare("net.ipv4.conf."+dev+".rp_filter", "2", equal,
			"the default route is on another interface, so strict source validation drops packets of remote clients that arrive here"))
	}
	return all
}

// tables finds the settings of IPVS itself.
func tables(c *config.Config, u uses) []Finding {
	all := []Finding{}
	if value("net.ipv4.vs.backup_only") != "" {
		all = append(all, compare("net.ipv4.vs.backup_only", "0", equal, "with 1 this director refuses all connections while it receives connections from its peer"))
	}
	if !c.IPVS.ManageSysctls {
		for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template"} {
			all = append(all, compare("net.ipv4.vs."+name, "1", equal, "[ipvs] manage_sysctls is false, and clients may still be sent to a failed server"))
		}
	}
	if len(u.nat4)+len(u.nat6) > 0 {
		all = append(all, compare("net.ipv4.vs.conntrack", "1", equal, "nftables then sees translated connections correctly, and does not masquerade them"))
		if liberal := "net.netfilter.nf_conntrack_tcp_be_liberal"; c.IPVS.Sync != nil && value(liberal) != "" {
			all = append(all, compare(liberal, "1", equal,
				"a director that becomes master again has missed packets of its connections: strict window tracking would treat them as new and change their port, and the real servers would reset them"))
		}
	}
	return all
}

func equal(have, want string) bool { return have == want }

// compare compares one setting.
func compare(name, want string, good func(have, want string) bool, why string) Finding {
	have := value(name)
	return Finding{Kind: "sysctl", Name: name, Have: have, Want: want, OK: good(have, want), Why: why, Remedy: "sysctl -w " + name + "=" + want}
}

// value returns a setting, or "" where it cannot be read.
func value(name string) string {
	v, _ := sysctl.Read(name)
	return v
}

// devices are those by which real servers are reached.
func devices(servers []netip.Addr) []string {
	var all []string
	for _, a := range servers {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err != nil {
			continue
		}
		for _, r := range routes {
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil && !slices.Contains(all, l.Attrs().Name) {
				all = append(all, l.Attrs().Name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// table is the name of the nftables table that Prepare makes.
const table = "lvsd"

// masquerading finds the rule by which real servers behind nat reach the rest
// of the world under this host's address: it is their gateway.
func masquerading(u uses) []Finding {
	var all []Finding
	for _, f := range []struct {
		family, field string
		servers       []netip.Addr
	}{{"ip", "ip", u.nat4}, {"ip6", "ip6", u.nat6}} {
		if len(f.servers) == 0 {
			continue
		}
		found := Finding{Kind: "nftables", Name: "nftables table " + f.family + " " + table, Want: "masquerading " + strconv.Itoa(len(f.servers)) + " real servers",
			Why:    "this host is the gateway of real servers with nat, whose outgoing connections need a source address that replies are routed to",
			Remedy: "lvsd host prepare", rules: rules(f.family, f.field, f.servers)}
		found.Have, found.OK = loaded(f.family, table, "masquerade", f.servers)
		all = append(all, found)
	}
	return all
}

// syncTable is the name of the nftables table that keeps strangers from the kernel's
// receiver of connections.
const syncTable = "lvsd_sync"

// syncSources finds the rule that lets in connections of the directors alone.
func syncSources(s *config.Sync) []Finding {
	if s == nil || len(s.Sources) == 0 {
		return nil
	}
	field := "ip"
	if s.Group.Is6() {
		field = "ip6"
	}
	found := Finding{Kind: "nftables", Name: "nftables table inet " + syncTable, Want: fmt.Sprintf("connections from %d directors only", len(s.Sources)),
		Why:    "the kernel accepts synchronised connections from any sender, which could redirect clients",
		Remedy: "lvsd host prepare", rules: fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	chain input {
		type filter hook input priority filter; policy accept;
		%[2]s daddr %[3]s udp dport %[4]d %[2]s saddr != %[5]s drop
	}
}
`, syncTable, field, s.Group, s.Port, set(s.Sources))}
	found.Have, found.OK = loaded("inet", syncTable, fmt.Sprintf("udp dport %d", s.Port), append([]netip.Addr{s.Group}, s.Sources...))
	return []Finding{found}
}

// set is a set of addresses in the syntax of nft.
func set(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return "{ " + strings.Join(texts, ", ") + " }"
}

// rules is the table in the syntax of nft: connections that real servers open, except
// to each other and to this host, leave with this host's address. A table of this name
// is replaced as a whole, and no other one is touched.
func rules(family, field string, servers []netip.Addr) string {
	return fmt.Sprintf(`table %[1]s %[2]s
delete table %[1]s %[2]s
table %[1]s %[2]s {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		%[3]s saddr %[4]s %[3]s daddr != %[4]s masquerade
	}
}
`, family, table, field, set(servers))
}
