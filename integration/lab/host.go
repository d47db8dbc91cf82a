// LANs and hosts: bridges, and namespaces plugged into them. What runs on a host is in
// the other files.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LAN is a bridge in a namespace of its own: an Ethernet switch with no
// address, no spanning tree, no multicast snooping, no delay.
type LAN struct {
	lab    *Lab
	Name   string
	Prefix netip.Prefix
	ns     *namespace
	bridge netlink.Link
	ports  int // cables plugged in so far
}

// Host is a namespace with cables into LANs: eth0 is the first, eth1 the next.
type Host struct {
	lab  *Lab
	Name string
	ns   *namespace
	nics []*nic
}

// nic is one cable: eth<n> at the host, a port of the LAN's bridge at the other end.
type nic struct {
	host *Host
	lan  *LAN
	dev  string
	port string
	addr netip.Prefix
}

// LAN makes a switch. The prefix is a note for the tests; nothing routes by it.
func (l *Lab) LAN(name, prefix string) *LAN {
	l.tb.Helper()
	p, err := netip.ParsePrefix(prefix)
	l.must(err, "read the prefix of LAN %s", name)
	lan := &LAN{lab: l, Name: name, Prefix: p, ns: l.newNamespace(name)}
	// Without this the switch's ports would get IPv6 link-local addresses and send packets.
	l.must(lan.ns.setSysctl("net.ipv6.conf.default.disable_ipv6", "1"), "turn IPv6 off in the switch")
	// Spanning tree is off in a new bridge, and so a port forwards at once, whatever
	// forward_delay says (br_make_forwarding in net/bridge/br_stp.c).
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &off}
	bridge.Name = "br0"
	l.must(lan.ns.nl.LinkAdd(bridge), "make the bridge of LAN %s", name)
	lan.bridge, err = lan.ns.nl.LinkByName("br0")
	l.must(err, "find the bridge of LAN %s", name)
	l.must(lan.ns.nl.LinkSetUp(lan.bridge), "bring LAN %s up", name)
	return lan
}

// Host makes a host on a LAN with an address such as "10.77.0.11/24". IPv6
// addresses come without duplicate address detection.
func (l *Lab) Host(name string, lan *LAN, addr string) *Host {
	l.tb.Helper()
	h := &Host{lab: l, Name: name, ns: l.newNamespace(name)}
	for _, s := range []string{"accept_ra", "accept_dad"} {
		l.must(h.ns.setSysctl("net.ipv6.conf.default."+s, "0"), "set %s on %s", s, name)
	}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	h.Plug(lan, addr)
	return h
}

// Plug runs one more cable from the host into a LAN (eth1, eth2, …) and
// returns the device's name. An empty addr gives it none.
func (h *Host) Plug(lan *LAN, addr string) string {
	l := h.lab
	l.tb.Helper()
	n := &nic{host: h, lan: lan, dev: fmt.Sprintf("eth%d", len(h.nics)), port: h.Name}
	if len(h.nics) > 0 {
		n.port = fmt.Sprintf("%s.%d", h.Name, len(h.nics))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.port
	attrs.MasterIndex = lan.bridge.Attrs().Index
	// The kernel reports a changed carrier at once, or up to a second later when
	// both ends of a cable happen to have the same index (linkwatch_urgent_event in
	// net/core/link_watch.c). No host has so high ones.
	attrs.Index = firstPortIndex + lan.ports
	lan.ports++
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: n.dev, PeerNamespace: netlink.NsFd(int(h.ns.handle))}
	l.must(lan.ns.nl.LinkAdd(veth), "run a cable from %s to LAN %s", h.Name, lan.Name)
	h.nics = append(h.nics, n)
	if addr != "" {
		p, err := netip.ParsePrefix(addr)
		l.must(err, "read the address of %s", h.Name)
		n.addr = p
		l.must(h.addAddress(n.dev, p), "give %s to %s", addr, h.Name)
	}
	l.must(h.ns.linkUp(n.dev), "bring %s of %s up", n.dev, h.Name)
	l.must(lan.ns.linkUp(n.port), "plug %s in", n.port)
	// Until the kernel has noticed the carrier it drops what is sent at one end,
	// and the switch drops what comes in at the other.
	l.WaitUntil(10*time.Second, n.dev+" of "+h.Name+" being up", func() bool {
		return h.ns.operational(n.dev) && lan.ns.operational(n.port)
	})
	return n.dev
}

const firstPortIndex = 1000

// String is the host's name.
func (h *Host) String() string { return h.Name }

// Namespace is the name for `ip netns exec`.
func (h *Host) Namespace() string { return h.ns.name }

// Addr is the address that the host was built with.
func (h *Host) Addr() netip.Addr { return h.nics[0].addr.Addr() }

// MAC is the Ethernet address of a device; empty when there is no such device.
func (h *Host) MAC(dev string) net.HardwareAddr {
	link, err := h.ns.nl.LinkByName(dev)
	if err != nil {
		return nil
	}
	return link.Attrs().HardwareAddr
}

// Do runs f on a locked thread in the host's namespace: sockets opened in it
// belong to the host. Children must come from Start and Run instead; f must
// not start goroutines that expect to be in the namespace.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// Dial connects from the host. address must be an IP address and a port: a
// name would be looked up on other threads, in another namespace.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("failed to dial from %s: %w", h.Name, err)
	}
	var conn net.Conn
	err := h.ns.do(func() (err error) {
		// No keepalives: an idle conversation must send nothing, since each packet may be
		// synchronised.
		d := net.Dialer{KeepAlive: -1}
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen opens a listener on the host, which the caller closes.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	var ln net.Listener
	err := h.ns.do(func() (err error) {
		lc := net.ListenConfig{KeepAlive: -1}
		ln, err = lc.Listen(context.Background(), network, address)
		return err
	})
	return ln, err
}

// ListenPacket opens a datagram socket on the host, which the caller closes.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	var pc net.PacketConn
	err := h.ns.do(func() (err error) {
		var lc net.ListenConfig
		pc, err = lc.ListenPacket(context.Background(), network, address)
		return err
	})
	return pc, err
}

// HTTPClient sends HTTP requests from the host: without a proxy or keep-alive, with a
// limit of 5 s for the whole request.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true},
	}
}

// Get fetches a URL from the host and returns status and body.
func (h *Host) Get(url string) (status int, body string, err error) {
	resp, err := h.HTTPClient().Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := readLimited(resp.Body)
	return resp.StatusCode, string(b), err
}

// Sysctl reads a kernel setting of the host: "net.ipv4.ip_forward".
func (h *Host) Sysctl(name string) (string, error) {
	var value string
	err := h.ns.onThread(func() error {
		b, err := os.ReadFile(sysctlPath(name))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

// SetSysctl writes a kernel setting of the host.
func (h *Host) SetSysctl(name, value string) {
	h.lab.tb.Helper()
	h.lab.must(h.ns.setSysctl(name, value), "set %s=%s on %s", name, value, h.Name)
}

// setSysctl skips IPv6 settings in a kernel without IPv6.
func (ns *namespace) setSysctl(name, value string) error {
	return ns.onThread(func() error {
		err := os.WriteFile(sysctlPath(name), []byte(value), 0)
		if os.IsNotExist(err) && strings.HasPrefix(name, "net.ipv6.") {
			if _, e := os.Stat("/proc/sys/net/ipv6"); os.IsNotExist(e) {
				return nil
			}
		}
		return err
	})
}

// sysctlPath turns dots into slashes and, as sysctl(8), slashes into dots, for
// device names with a dot. /proc/sys/net is the reading thread's own namespace.
func sysctlPath(name string) string {
	swap := strings.NewReplacer(".", "/", "/", ".")
	return filepath.Join("/proc/sys", swap.Replace(name))
}

// AddAddress adds an address with its prefix ("10.77.0.100/32") to a device.
func (h *Host) AddAddress(dev, prefix string) {
	h.lab.tb.Helper()
	p, err := netip.ParsePrefix(prefix)
	h.lab.must(err, "read the address")
	h.lab.must(h.addAddress(dev, p), "add %s to %s of %s", prefix, dev, h.Name)
}

// DelAddress removes an address from a device.
func (h *Host) DelAddress(dev, prefix string) {
	h.lab.tb.Helper()
	link, err := h.ns.nl.LinkByName(dev)
	h.lab.must(err, "find %s of %s", dev, h.Name)
	addr, err := netlink.ParseAddr(prefix)
	h.lab.must(err, "read the address")
	h.lab.must(h.ns.nl.AddrDel(link, addr), "take %s off %s of %s", prefix, dev, h.Name)
}

func (h *Host) addAddress(dev string, p netip.Prefix) error {
	link, err := h.ns.nl.LinkByName(dev)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return h.ns.nl.AddrAdd(link, addr)
}

// undisturbed repeats a dump that a concurrent change interrupted.
func undisturbed[T any](list func() (T, error)) (all T, err error) {
	for range 20 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// Addresses lists the addresses of a device, IPv6 link-local ones left out;
// of all devices when dev is empty.
func (h *Host) Addresses(dev string) []netip.Prefix {
	h.lab.tb.Helper()
	var link netlink.Link
	if dev != "" {
		var err error
		link, err = h.ns.nl.LinkByName(dev)
		h.lab.must(err, "find %s of %s", dev, h.Name)
	}
	addrs, err := undisturbed(func() ([]netlink.Addr, error) { return h.ns.nl.AddrList(link, netlink.FAMILY_ALL) })
	h.lab.must(err, "list the addresses of %s", h.Name)
	var out []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		if ip.Is6() && ip.IsLinkLocalUnicast() {
			continue
		}
		ones, _ := a.Mask.Size()
		out = append(out, netip.PrefixFrom(ip, ones))
	}
	return out
}

// Holds reports whether the host has the address on eth0, or on a macvlan.
func (h *Host) Holds(addr string) bool {
	h.lab.tb.Helper()
	want, err := netip.ParseAddr(addr)
	h.lab.must(err, "read the address")
	links, err := undisturbed(h.ns.nl.LinkList)
	h.lab.must(err, "list the interfaces of %s", h.Name)
	counts := map[int]bool{}
	for _, l := range links {
		counts[l.Attrs().Index] = l.Attrs().Name == "eth0" || l.Type() == "macvlan"
	}
	addrs, err := undisturbed(func() ([]netlink.Addr, error) { return h.ns.nl.AddrList(nil, netlink.FAMILY_ALL) })
	h.lab.must(err, "list the addresses of %s", h.Name)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == want && counts[a.LinkIndex] {
			return true
		}
	}
	return false
}

// HoldsOn reports whether the host has the address on a device.
func (h *Host) HoldsOn(dev, addr string) bool {
	h.lab.tb.Helper()
	want, err := netip.ParseAddr(addr)
	h.lab.must(err, "read the address")
	for _, p := range h.Addresses(dev) {
		if p.Addr() == want {
			return true
		}
	}
	return false
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
