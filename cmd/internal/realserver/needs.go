package realserver

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Wish is one virtual address that this host is to take packets for.
type Wish struct {
	VIP      netip.Addr `json:"vip"`
	Forward  string     `json:"forward"`           // "dr" "tun"
	Type     string     `json:"type,omitempty"`    // tun: "ipip" "gre" "gue"
	Port     uint16     `json:"port,omitempty"`    // gue: the UDP port
	Local    netip.Addr `json:"local,omitzero"`    // gre with Checksum: this host's address that the director sends to
	Checksum bool       `json:"checksum,omitzero"` // gre: packets carry a checksum
}

// DefaultPort is the UDP port of gue when none is said.
const DefaultPort = 6080

// Check completes a wish, and says what is wrong with it.
func (w *Wish) Check() error {
	w.VIP = w.VIP.Unmap()
	switch {
	case !w.VIP.IsValid() || w.VIP.IsUnspecified() || w.VIP.IsMulticast() || w.VIP.IsLoopback() || w.VIP.Zone() != "":
		return fmt.Errorf("%s is not an address that a service can have", w.VIP)
	case w.Forward == "dr" && (w.Type != "" || w.Port != 0 || w.Checksum || w.Local.IsValid()):
		return fmt.Errorf("a type of tunnel, its port, checksum and local address need --forward tun")
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
		return fmt.Errorf("--port is the UDP port of gue, and means nothing with %s", w.Type)
	case w.Type != "gre" && (w.Checksum || w.Local.IsValid()):
		return fmt.Errorf("--checksum and --local are for gre, %s needs neither", w.Type)
	case w.Checksum && !w.Local.IsValid():
		return fmt.Errorf("gre with a checksum needs --local, the address of this host that the director sends to")
	case w.Checksum && w.Local.Is4() != w.VIP.Is4():
		return fmt.Errorf("--local %s is not of the same family as %s", w.Local, w.VIP)
	case !w.Checksum && w.Local.IsValid():
		return fmt.Errorf("--local means nothing without --checksum")
	}
	if w.Type == "gue" && w.Port == 0 {
		w.Port = DefaultPort
	}
	return nil
}

// String names the way, for messages.
func (w Wish) String() string {
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

// kind is what a need is about.
type kind string

const (
	kindSysctl  kind = "sysctl"  // key: its name; value: a number; as much or more is good
	kindGRE     kind = "gre"     // key: a device; value: its local address; "" = there is none
	kindLink    kind = "link"    // key: a device; value: "up" "down"; "" = there is none
	kindFOU     kind = "fou"     // key: "FAMILY PORT"; value: "gue"; "" = nobody listens
	kindAddress kind = "address" // key: "DEVICE PREFIX"; value: "there"; "" = it is not
)

// need is one thing that must be so.
type need struct {
	Kind kind
	Key  string
	Want string
}

// met says whether a value is what is needed.
func (n need) met(have string) bool {
	if n.Kind != kindSysctl {
		return have == n.Want
	}
	h, err := strconv.Atoi(have)
	w, _ := strconv.Atoi(n.Want)
	return err == nil && h >= w
}

// device is where the address goes.
func (w Wish) device() string {
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
		return "tunl0" // gue unwraps to ipip
	}
	return "ip6tnl0"
}

// needs lists what the wish needs, in the order in which it is to be done: the
// address comes last, when nothing would answer ARP for it any more. Undoing
// goes the other way.
func (w Wish) needs() []need {
	var all []need
	device := w.device()
	if w.VIP.Is4() {
		// The larger of all and the device's own holds (ip-sysctl.rst).
		all = append(all,
			need{kindSysctl, "net.ipv4.conf.all.arp_ignore", "1"},
			need{kindSysctl, "net.ipv4.conf.all.arp_announce", "2"})
	}
	if w.Checksum {
		all = append(all, need{kindGRE, device, w.Local.String()})
	}
	all = append(all, need{kindLink, device, "up"})
	if w.Forward == "tun" && w.VIP.Is4() {
		// What comes out of the tunnel has a client's address, to which the
		// route leads elsewhere: the strict check would drop it.
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
