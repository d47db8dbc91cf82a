// This file writes a spec in the forms of other tools that configure a host at boot.

package realserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Forms are what Print writes.
var Forms = []string{"sysctl.d", "networkd", "networkmanager", "ifupdown"}

// errInstall is the remedy where a form cannot express a need.
var errInstall = errors.New("cannot express this; use lvsd realserver install")

// Print returns files that make the settings of specs at each boot, with their paths as
// comments. The settings of the kernel are a file of sysctl.d in every form.
func Print(form string, specs []Spec) (string, error) {
	var all []need
	for _, w := range specs {
		for _, n := range w.needs() {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	var b strings.Builder
	file(&b, "/etc/sysctl.d/60-lvsd-realserver.conf")
	for _, n := range all {
		if n.Kind == kindSysctl {
			fmt.Fprintf(&b, "%s = %s\n", n.Key, n.Want)
		}
	}
	write := map[string]func(*strings.Builder, []need) error{
		"sysctl.d": func(*strings.Builder, []need) error { return nil }, "networkd": networkd, "networkmanager": networkManager, "ifupdown": ifupdown,
	}[form]
	if write == nil {
		return "", fmt.Errorf("--for must be %s, not %q", strings.Join(Forms, ", "), form)
	}
	if err := write(&b, all); err != nil {
		return "", fmt.Errorf("%s %w", form, err)
	}
	return b.String(), nil
}

// file begins a file.
func file(b *strings.Builder, path string) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "# %s\n", path)
}

// modulesOf are the kernel modules that make the devices of tunnels.
var modulesOf = map[string]string{"tunl0": "ipip", "ip6tnl0": "ip6_tunnel", "gre0": "ip_gre", "ip6gre0": "ip6_gre"}

// byDevice returns the addresses of each device, in the order of the needs, and the ports
// of gue. The forms have no device that lvsd itself creates, such as that of gre with a
// checksum.
func byDevice(all []need) (devices []string, addresses map[string][]string, ports []string, err error) {
	addresses = map[string][]string{}
	for _, n := range all {
		switch n.Kind {
		case kindGRE:
			return nil, nil, nil, errInstall
		case kindFOU:
			ports = append(ports, n.Key) // FAMILY PORT
		case kindAddress:
			device, prefix, _ := strings.Cut(n.Key, " ")
			if addresses[device] == nil {
				devices = append(devices, device)
			}
			addresses[device] = append(addresses[device], prefix)
		}
	}
	return devices, addresses, ports, nil
}

// loadModules writes what loads the modules of devices.
func loadModules(b *strings.Builder, devices, ports []string) {
	var names []string
	for _, d := range devices {
		if m := modulesOf[d]; m != "" {
			names = append(names, m)
		}
	}
	for _, p := range ports {
		m := "fou"
		if strings.HasPrefix(p, "ipv6 ") {
			m = "fou6"
		}
		if !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	if len(names) > 0 {
		file(b, "/etc/modules-load.d/lvsd-realserver.conf")
		b.WriteString(strings.Join(names, "\n") + "\n")
	}
}

// networkd writes files of systemd-networkd.
func networkd(b *strings.Builder, all []need) error {
	devices, addresses, ports, err := byDevice(all)
	if err != nil {
		return err
	}
	loadModules(b, devices, ports)
	for _, p := range ports {
		family, port, _ := strings.Cut(p, " ")
		if family == "ipv6" {
			return errInstall
		}
		file(b, "/etc/systemd/network/60-lvsd-gue.netdev")
		fmt.Fprintf(b, "[NetDev]\nName=lvsd-gue\nKind=fou\n\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort=%s\n", port)
	}
	for _, d := range devices {
		file(b, "/etc/systemd/network/60-lvsd-"+d+".network")
		fmt.Fprintf(b, "[Match]\nName=%s\n\n[Network]\nLinkLocalAddressing=no\n", d)
		for _, a := range addresses[d] {
			fmt.Fprintf(b, "\n[Address]\nAddress=%s\n", a)
			if strings.Contains(a, ":") {
				b.WriteString("DuplicateAddressDetection=none\n")
			}
		}
	}
	return nil
}

// networkManager writes a profile of the loopback device, which NetworkManager has since
// 1.42.
func networkManager(b *strings.Builder, all []need) error {
	devices, addresses, _, err := byDevice(all)
	if err != nil || !slices.Equal(devices, []string{"lo"}) {
		return errInstall
	}
	file(b, "/etc/NetworkManager/system-connections/lvsd-lo.nmconnection (mode 0600, NetworkManager 1.42)")
	b.WriteString("[connection]\nid=lvsd-lo\ntype=loopback\ninterface-name=lo\n\n[ipv4]\nmethod=manual\naddress1=127.0.0.1/8\n")
	six := []string{"::1/128"}
	n := 1
	for _, a := range addresses["lo"] {
		if strings.Contains(a, ":") {
			six = append(six, a)
			continue
		}
		n++
		fmt.Fprintf(b, "address%d=%s\n", n, a)
	}
	b.WriteString("\n[ipv6]\nmethod=manual\n")
	for i, a := range six {
		fmt.Fprintf(b, "address%d=%s\n", i+1, a)
	}
	return nil
}

// ifupdown writes a file of Debian's ifupdown.
func ifupdown(b *strings.Builder, all []need) error {
	devices, addresses, ports, err := byDevice(all)
	if err != nil {
		return err
	}
	loadModules(b, devices, ports)
	file(b, "/etc/network/interfaces.d/lvsd-realserver")
	for _, d := range devices {
		method := "manual"
		if d == "lo" {
			method = "loopback"
		}
		fmt.Fprintf(b, "auto %s\niface %s inet %s\n", d, d, method)
		if d != "lo" {
			fmt.Fprintf(b, "\tup ip link set %s up\n", d)
			for _, p := range ports {
				family, port, _ := strings.Cut(p, " ")
				six := ""
				if family == "ipv6" {
					six = "-6 "
				}
				if (six != "") != strings.HasPrefix(d, "ip6") { // of the other device
					continue
				}
				fmt.Fprintf(b, "\tup ip fou add port %s gue %s|| true\n\tdown ip fou del port %s %s|| true\n", port, six, port, six)
			}
		}
		for _, a := range addresses[d] {
			nodad := ""
			if strings.Contains(a, ":") {
				nodad = " nodad"
			}
			fmt.Fprintf(b, "\tup ip address replace %s dev %s%s\n\tdown ip address del %s dev %s || true\n", a, d, nodad, a, d)
		}
	}
	return nil
}

// Options are the flags of `lvsd realserver up` that say the forwarding method, "" for
// direct routing.
func (w Spec) Options() string {
	if w.Forward == "dr" {
		return ""
	}
	text := "--forward " + w.Forward + " --type " + w.Type
	if w.Type == "gue" {
		text += fmt.Sprintf(" --port %d", w.Port)
	}
	if w.Checksum {
		text += " --checksum --local " + w.Local.String()
	}
	return text
}
