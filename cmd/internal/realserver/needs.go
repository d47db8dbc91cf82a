package realserver

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Spec is one virtual address for which this host accepts packets.
type Spec struct {
	VIP      netip.Addr `json:"vip"`
	Forward  string     `json:"forward"`           // "dr" "tun"
	Type     string     `json:"type,omitempty"`    // tun: "ipip" "gre" "gue"
	Port     uint16     `json:"port,omitempty"`    // gue: the UDP port
	Local    netip.Addr `json:"local,omitzero"`    // gre with Checksum: this host's address that the director sends to
	Checksum bool       `json:"checksum,omitzero"` // gre: packets have a checksum
}

// DefaultPort is the default UDP port of gue.
const DefaultPort = 6080

// Check completes a spec and returns what is invalid in it.
func (w *Spec) Check() error {
	w.VIP = w.VIP.Unmap()
	switch {
	case !w.VIP.IsValid() || w.VIP.IsUnspecified() || w.VIP.IsMulticast() || w.VIP.IsLoopback() || w.VIP.Zone() != "":
		return fmt.Errorf("%s cannot be the address of a service", w.VIP)
	case w.Forward == "dr" && (w.Type != "" || w.Port != 0 || w.Checksum || w.Local.IsValid()):
		return fmt.Errorf("--type, --port, --checksum and --local need --forward tun")
	case w.Forward == "dr":
		return nil
	case w.Forward != "tun":
		return fmt.Errorf("--forward must be dr or tun, not %q", w.Forward)
	}
	if w.Type == "" {
		w.Type = "ipip"
	}
	switch {
	case w.Type != "ipip" && w.Type != "gre" && w.Type != "gue":
		return fmt.Errorf("--type must be ipip, gre or gue, not %q", w.Type)
	case w.Type != "gue" && w.Port != 0:
		return fmt.Errorf("--port is the UDP port of gue and cannot be used with %s", w.Type)
	case w.Type != "gre" && (w.Checksum || w.Local.IsValid()):
		return fmt.Errorf("--checksum and --local are for gre only, not for %s", w.Type)
	case w.Checksum && !w.Local.IsValid():
		return fmt.Errorf("gre with a checksum needs --local, the address of this host that the director sends to")
	case w.Checksum && w.Local.Is4() != w.VIP.Is4():
		return fmt.Errorf("--local %s is not of the same family as %s", w.Local, w.VIP)
	case !w.Checksum && w.Local.IsValid():
		return fmt.Errorf("--local needs --checksum")
	}
	if w.Type == "gue" && w.Port == 0 {
		w.Port = DefaultPort
	}
	return nil
}

// String describes the forwarding method.
func (w Spec) String() string {
	switch {
	case w.Forward == "dr":
		return "dr"
	case w.Type == "gue":
		return fmt.Sprintf("tun by gue on port %d", w.Port)
	case w.Checksum:
		return "tun by gre with checksum to " + w.Local.String()
	}
	return "tun by " + w.Type
}

// kind is the type of a setting.
type kind string

const (
	kindSysctl  kind = "sysctl"  // key: name; value: a number, satisfied by a greater one
	kindGRE     kind = "gre"     // key: device; value: local address; empty: no such device
	kindLink    kind = "link"    // key: device; value: "up", "down"; empty: no such device
	kindFOU     kind = "fou"     // key: "FAMILY PORT"; value: "gue"; empty: no listener
	kindAddress kind = "address" // key: "DEVICE PREFIX"; value: "there"; empty: absent
)

// need is one required setting.
type need struct {
	Kind kind
	Key  string
	Want string
}

// met reports whether a value satisfies the requirement.
func (n need) met(have string) bool {
	if n.Kind != kindSysctl {
		return have == n.Want
	}
	h, err := strconv.Atoi(have)
	w, _ := strconv.Atoi(n.Want)
	return err == nil && h >= w
}

// device returns the device of the address.
func (w Spec) device() string {
	switch {
	case w.Forward == "dr":
		return "lo"
	case w.Checksum && w.VIP.Is4():
		return "lvsdgre"
	case w.Checksum:
		return "lvsdgre6"
	case w.Type == "gre" && w.VIP.Is4():
		return "gre0"
	case w.Type == "gre":
		return "ip6gre0"
	case w.VIP.Is4():
		return "tunl0" // gue is decapsulated to ipip
	}
	return "ip6tnl0"
}

// needs lists the required settings in the order in which they are made: the address
// last, when ARP requests for it are ignored already. They are undone in reverse.
func (w Spec) needs() []need {
	var all []need
	device := w.device()
	if w.VIP.Is4() {
		// The larger value of all and of the device applies (ip-sysctl.rst).
		all = append(all,
			need{kindSysctl, "net.ipv4.conf.all.arp_ignore", "1"},
			need{kindSysctl, "net.ipv4.conf.all.arp_announce", "2"})
	}
	if w.Checksum {
		all = append(all, need{kindGRE, device, w.Local.String()})
	}
	all = append(all, need{kindLink, device, "up"})
	if w.Forward == "tun" && w.VIP.Is4() {
		// Decapsulated packets have a client's address, whose route uses another device:
		// strict reverse path filtering would drop them.
		all = append(all, need{kindSysctl, "net.ipv4.conf." + device + ".rp_filter", "2"})
	}
	if w.Type == "gue" {
		family := "ipv4"
		if w.VIP.Is6() {
			family = "ipv6"
		}
		all = append(all, need{kindFOU, fmt.Sprintf("%s %d", family, w.Port), "gue"})
	}
	return append(all, need{kindAddress, device + " " + netip.PrefixFrom(w.VIP, w.VIP.BitLen()).String(), "there"})
}
