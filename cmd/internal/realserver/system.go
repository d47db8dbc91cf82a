// This file reads and writes sysctls, devices, addresses and UDP decapsulation ports.

package realserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/sysctl"
)

type system struct{}

func (system) Read(n need) (string, error) {
	switch n.Kind {
	case kindSysctl:
		return sysctl.Read(n.Key) // empty for a device that does not exist yet
	case kindLink:
		link, err := findLink(n.Key)
		if link == nil || err != nil {
			return "", err
		}
		if link.Attrs().Flags&net.FlagUp != 0 {
			return "up", nil
		}
		return "down", nil
	case kindGRE:
		link, err := findLink(n.Key)
		if link == nil || err != nil {
			return "", err
		}
		if g, ok := link.(*netlink.Gretun); ok {
			a, _ := netip.AddrFromSlice(g.Local)
			return a.Unmap().String(), nil
		}
		return "a device of another kind", nil
	case kindFOU:
		return readFOU(n)
	}
	device, prefix, err := split(n)
	if err != nil {
		return "", err
	}
	addrs, err := addressesOf(device)
	for _, a := range addrs {
		if a == prefix {
			return "there", err
		}
	}
	return "", err
}

func (system) Write(n need, value string) error {
	err := write(n, value)
	if err != nil {
		err = fmt.Errorf("failed to change %s %s: %w", n.Kind, n.Key, err)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			err = fmt.Errorf("%w: run as root, or with CAP_NET_ADMIN", err)
		}
	}
	return err
}

func write(n need, value string) error {
	switch n.Kind {
	case kindSysctl:
		return sysctl.Write(n.Key, value)
	case kindLink:
		return setLink(n.Key, value)
	case kindGRE:
		return setGRE(n.Key, value)
	case kindFOU:
		return setFOU(n, value)
	}
	device, prefix, err := split(n)
	if err != nil {
		return err
	}
	link, err := findLink(device)
	switch {
	case err != nil:
		return err
	case link == nil && value == "":
		return nil
	case link == nil:
		return fmt.Errorf("device %s does not exist", device)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}}
	if value == "" {
		if err := netlink.AddrDel(link, addr); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		return nil
	}
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD // every real server has the address: duplicate address detection would find the others
	}
	return netlink.AddrAdd(link, addr)
}

func (system) Holders(a netip.Addr) ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("failed to list the devices: %w", err)
	}
	var all []string
	for _, l := range links {
		addrs, err := addressesOf(l.Attrs().Name)
		if err != nil {
			return nil, err
		}
		for _, p := range addrs {
			if p.Addr() == a {
				all = append(all, l.Attrs().Name)
			}
		}
	}
	return all, nil
}

// addressesOf lists the addresses of a device; none where it does not exist.
func addressesOf(device string) ([]netip.Prefix, error) {
	link, err := findLink(device)
	if link == nil || err != nil {
		return nil, err
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("failed to list the addresses of %s: %w", device, err)
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			bits, _ := a.Mask.Size()
			all = append(all, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return all, nil
}

// findLink returns a device, or nil.
func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to find %s: %w", name, err)
	}
	return link, nil
}

// setLink brings a device up or down. A device that comes with a module is created by
// loading that. It cannot be removed without unloading the module, so it is set
// down instead.
func setLink(name, value string) error {
	link, err := findLink(name)
	if err != nil {
		return err
	}
	if link == nil {
		if value != "up" {
			return nil
		}
		if err := loadModule(name); err != nil {
			return err
		}
		if link, err = findLink(name); err != nil {
			return err
		}
		if link == nil {
			return fmt.Errorf("device %s does not exist: its module is missing, or net.core.fb_tunnels_only_for_init_net excludes it from this namespace", name)
		}
	}
	if value == "up" {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}

// loadModule loads the module of a device: creating any device of its kind does that.
func loadModule(name string) error {
	attrs := netlink.LinkAttrs{Name: "lvsdprobe"}
	local4, local6 := net.IPv4(127, 0, 0, 1), net.IPv6loopback
	probe := map[string]netlink.Link{
		"tunl0":   &netlink.Iptun{LinkAttrs: attrs, Local: local4},
		"gre0":    &netlink.Gretun{LinkAttrs: attrs, Local: local4},
		"ip6tnl0": &netlink.Ip6tnl{LinkAttrs: attrs, Local: local6, Remote: net.IPv6zero},
		"ip6gre0": &netlink.Gretun{LinkAttrs: attrs, Local: local6, Remote: net.IPv6zero},
	}[name]
	if probe == nil {
		return fmt.Errorf("device %s does not exist", name)
	}
	if err := netlink.LinkAdd(probe); err != nil {
		return fmt.Errorf("failed to load the module of %s: %w", name, err)
	}
	return netlink.LinkDel(probe)
}

// setGRE creates or removes a device for gre with checksums, which the default device
// does not accept (ip_tunnel_rcv, ip_tunnel.c).
func setGRE(name, local string) error {
	if local == "" {
		link, err := findLink(name)
		if link == nil || err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}
	a, err := netip.ParseAddr(local)
	if err != nil {
		return err
	}
	const checksum = 0x8000 // GRE_CSUM, linux/if_tunnel.h
	gre := &netlink.Gretun{LinkAttrs: netlink.LinkAttrs{Name: name}, Local: a.AsSlice(), IFlags: checksum, OFlags: checksum}
	if a.Is6() {
		gre.Remote = net.IPv6zero
	}
	return netlink.LinkAdd(gre)
}

// fouOf parses the family and port of a setting.
func fouOf(n need) (netlink.Fou, error) {
	family, port, _ := strings.Cut(n.Key, " ")
	p, err := strconv.ParseUint(port, 10, 16)
	f := netlink.Fou{Family: unix.AF_INET, Port: int(p), EncapType: netlink.FOU_ENCAP_GUE}
	if family == "ipv6" {
		f.Family = unix.AF_INET6
	}
	return f, err
}

func readFOU(n need) (string, error) {
	want, err := fouOf(n)
	if err != nil {
		return "", err
	}
	all, err := netlink.FouList(want.Family)
	if errors.Is(err, unix.ENOENT) {
		return "", nil // the module is not loaded
	}
	if err != nil {
		return "", fmt.Errorf("failed to list the FOU ports: %w", err)
	}
	for _, f := range all {
		if f.Family == want.Family && f.Port == want.Port {
			if f.EncapType == netlink.FOU_ENCAP_GUE {
				return "gue", nil
			}
			return "fou", nil
		}
	}
	return "", nil
}

func setFOU(n need, value string) error {
	f, err := fouOf(n)
	if err != nil {
		return err
	}
	if value == "" {
		return netlink.FouDel(f)
	}
	// The kernel does not load these by itself. The first receives for both families;
	// some kernels have IPv6 in the second.
	for _, module := range []string{"fou", "fou6"} {
		if err = addFOU(f); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EAFNOSUPPORT) {
			return err
		}
		if out, e := exec.Command("modprobe", module).CombinedOutput(); e != nil {
			return fmt.Errorf("failed to load the module %s: %w: %s", module, e, strings.TrimSpace(string(out)))
		}
	}
	return addFOU(f)
}

// addFOU opens a port for gue. The library sends protocol 0, which newer kernels
// reject (FOU_ATTR_IPPROTO, fou_nl.c): gue has no protocol.
func addFOU(f netlink.Fou) error {
	family, err := netlink.FouFamilyId()
	if err != nil {
		return err
	}
	message := []byte{netlink.FOU_CMD_ADD, 1, 0, 0}
	for _, a := range []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, uint16(f.Port))),
		nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{byte(f.EncapType)}),
		nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{byte(f.Family)}),
	} {
		message = append(message, a.Serialize()...)
	}
	req := nl.NewNetlinkRequest(family, unix.NLM_F_ACK)
	req.AddRawData(message)
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

// split splits the key of an address.
func split(n need) (device string, prefix netip.Prefix, err error) {
	device, text, _ := strings.Cut(n.Key, " ")
	prefix, err = netip.ParsePrefix(text)
	return device, prefix, err
}
