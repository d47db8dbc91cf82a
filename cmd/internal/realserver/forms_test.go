package realserver

import (
	"net/netip"
	"strings"
	"testing"
)

func spec(t *testing.T, vip, forward, kind string) Spec {
	t.Helper()
	w := Spec{VIP: netip.MustParseAddr(vip), Forward: forward, Type: kind}
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestForms: each form has every setting that a spec needs.
func TestForms(t *testing.T) {
	four, six := spec(t, "10.0.0.88", "dr", ""), spec(t, "2001:db8::88", "dr", "")
	sysctls := "# /etc/sysctl.d/60-lvsd-realserver.conf\nnet.ipv4.conf.all.arp_ignore = 1\nnet.ipv4.conf.all.arp_announce = 2\n"
	for form, want := range map[string]string{
		"sysctl.d": sysctls,
		"networkd": sysctls + "\n# /etc/systemd/network/60-lvsd-lo.network\n[Match]\nName=lo\n\n[Network]\nLinkLocalAddressing=no\n\n[Address]\nAddress=10.0.0.88/32\n\n[Address]\nAddress=2001:db8::88/128\nDuplicateAddressDetection=none\n",
		"networkmanager": sysctls + "\n# /etc/NetworkManager/system-connections/lvsd-lo.nmconnection (mode 0600, NetworkManager 1.42)\n[connection]\nid=lvsd-lo\ntype=loopback\ninterface-name=lo\n\n" +
			"[ipv4]\nmethod=manual\naddress1=127.0.0.1/8\naddress2=10.0.0.88/32\n\n[ipv6]\nmethod=manual\naddress1=::1/128\naddress2=2001:db8::88/128\n",
		"ifupdown": sysctls + "\n# /etc/network/interfaces.d/lvsd-realserver\nauto lo\niface lo inet loopback\n\tup ip address replace 10.0.0.88/32 dev lo\n\tdown ip address del 10.0.0.88/32 dev lo || true\n" +
			"\tup ip address replace 2001:db8::88/128 dev lo nodad\n\tdown ip address del 2001:db8::88/128 dev lo || true\n",
	} {
		if got, err := Print(form, []Spec{four, six}); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", form, err, got, want)
		}
	}
}

// TestFormsOfTunnels: those that a form can express, and a remedy for the others.
func TestFormsOfTunnels(t *testing.T) {
	for _, c := range []struct{ vip, kind, form, want string }{
		{"10.0.0.88", "ipip", "networkd", "# /etc/modules-load.d/lvsd-realserver.conf\nipip\n"},
		{"10.0.0.88", "ipip", "networkd", "net.ipv4.conf.tunl0.rp_filter = 2\n"},
		{"10.0.0.88", "gue", "networkd", "Kind=fou\n\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort=6080\n"},
		{"10.0.0.88", "gue", "ifupdown", "\tup ip fou add port 6080 gue || true\n"},
		{"2001:db8::88", "gre", "ifupdown", "auto ip6gre0\niface ip6gre0 inet manual\n\tup ip link set ip6gre0 up\n"},
	} {
		if got, err := Print(c.form, []Spec{spec(t, c.vip, "tun", c.kind)}); err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %v\n%s\nwant\n%s", c.kind, c.form, err, got, c.want)
		}
	}
	// The port of each family is its device's: taking one down leaves the other.
	got, err := Print("ifupdown", []Spec{spec(t, "10.0.0.88", "tun", "gue"), spec(t, "2001:db8::88", "tun", "gue")})
	four, six, _ := strings.Cut(got, "auto ip6tnl0\n")
	if err != nil || strings.Contains(four, "gue -6") || strings.Count(four, "fou add") != 1 || strings.Count(six, "fou add port 6080 gue -6 ") != 1 || strings.Count(six, "fou add") != 1 {
		t.Errorf("gue of both families: %v\n%s", err, got)
	}
	sum := spec(t, "10.0.0.88", "tun", "gre")
	sum.Checksum, sum.Local = true, netip.MustParseAddr("10.0.0.9")
	for form, w := range map[string]Spec{"networkmanager": spec(t, "10.0.0.88", "tun", "ipip"), "networkd": sum, "nowhere": sum} {
		if got, err := Print(form, []Spec{w}); err == nil || got != "" || form != "nowhere" && !strings.Contains(err.Error(), "lvsd realserver install") {
			t.Errorf("%s: %q, %v", form, got, err)
		}
	}
	if got := sum.Options(); got != "--forward tun --type gre --checksum --local 10.0.0.9" {
		t.Errorf("options %q", got)
	}
}
