package link

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Encoded manually from RFC 826 and RFC 5227 §3. In the reply form the target's hardware
// address is the sender's.
func TestGratuitousFrames(t *testing.T) {
	forms, err := gratuitous(net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.88"))
	if err != nil {
		t.Fatal(err)
	}
	head := "ffffffffffff" + "020000000001" + "0806" + "0001" + "0800" + "06" + "04"
	padding := "000000000000000000000000000000000000"
	for i, want := range []string{
		head + "0001" + "020000000001" + "0a000058" + "000000000000" + "0a000058" + padding,
		head + "0002" + "020000000001" + "0a000058" + "020000000001" + "0a000058" + padding,
	} {
		if got := hex.EncodeToString(forms[i]); got != want {
			t.Errorf("form %d:\n got %s\nwant %s", i, got, want)
		}
	}
}

func TestPrimary(t *testing.T) {
	const global, link, host = unix.RT_SCOPE_UNIVERSE, unix.RT_SCOPE_LINK, unix.RT_SCOPE_HOST
	e := func(p string, scope int) entry { return entry{prefix: netip.MustParsePrefix(p), scope: scope} }
	ours := prefixes("10.0.0.88/32", "10.0.0.89/24")
	virtual := func(e entry) bool {
		return slices.ContainsFunc(ours, func(q netip.Prefix) bool { return q.Addr() == e.prefix.Addr() })
	}
	for _, tt := range []struct {
		name  string
		found []entry
		want  string
		owner bool
	}{
		{"the first", []entry{e("10.0.0.12/24", global), e("10.0.0.14/24", global)}, "10.0.0.12", false},
		{"after a virtual one", []entry{e("10.0.0.88/32", link), e("10.0.0.12/24", global)}, "10.0.0.12", false},
		{"after another election's", []entry{e("10.0.0.99/32", link), e("10.0.0.12/24", global)}, "10.0.0.12", false},
		{"after a virtual one with a wide prefix", []entry{e("10.0.0.89/24", global), e("10.0.0.12/24", global)}, "10.0.0.12", false},
		{"a host address of its own", []entry{e("192.0.2.7/32", global)}, "192.0.2.7", false},
		{"link-local", []entry{e("169.254.1.1/16", link)}, "169.254.1.1", false},
		{"an owner's", []entry{e("10.0.0.89/24", global)}, "10.0.0.89", true},
		{"a virtual one, not the owner", []entry{e("10.0.0.89/24", global)}, "", false},
		{"a virtual one with another prefix", []entry{e("10.0.0.88/24", global)}, "", false},
		{"a virtual one of host scope", []entry{e("10.0.0.99/32", host), e("10.0.0.12/24", global)}, "10.0.0.12", false},
		{"none but virtual ones", []entry{e("10.0.0.88/32", link), e("10.0.0.99/32", link)}, "", false},
		{"loopback", []entry{e("127.0.0.1/8", host)}, "", false},
		{"none", nil, "", false},
	} {
		got := primary(tt.found, virtual, tt.owner)
		if tt.want == "" && got.IsValid() || tt.want != "" && got.String() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
		}
	}
}

// What counts is whether the host answers for the address.
func TestPresent(t *testing.T) {
	found := []entry{{prefix: netip.MustParsePrefix("10.0.0.88/24")}, {prefix: netip.MustParsePrefix("10.0.0.12/24")}}
	if got := present(found, prefixes("10.0.0.89/32", "10.0.0.88/32")); !slices.Equal(got, prefixes("10.0.0.88/32")) {
		t.Errorf("%v", got)
	}
}

func TestAddressForm(t *testing.T) {
	a := address(netip.MustParsePrefix("10.0.0.88/32"), netlink.SCOPE_HOST)
	if a.Scope != unix.RT_SCOPE_HOST || !net.IPv4zero.Equal(a.Broadcast) || a.IPNet.String() != "10.0.0.88/32" {
		t.Errorf("%+v", a)
	}
	if a := address(netip.MustParsePrefix("10.0.0.88/24"), netlink.SCOPE_HOST); a.Scope != unix.RT_SCOPE_UNIVERSE || a.IPNet.String() != "10.0.0.88/24" {
		t.Errorf("%+v", a)
	}
}

// Encoded manually from RFC 4861 §4.4 and RFC 2464 §7; the checksum by another program.
func TestUnsolicitedAdvertisement(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::100")
	for router, want := range map[bool]string{false: "20", true: "a0"} {
		got, err := unsolicited(net.HardwareAddr{2, 0, 0, 0, 0, 1}, a, router)
		sum := map[bool]string{false: "f72c", true: "772c"}[router]
		frame := "333300000001" + "020000000001" + "86dd" + "60000000" + "0020" + "3a" + "ff" +
			"20010db8000000000000000000000100" + "ff020000000000000000000000000001" +
			"8800" + sum + want + "000000" + "20010db8000000000000000000000100" + "0201020000000001"
		if err != nil || hex.EncodeToString(got) != frame {
			t.Errorf("router %v:\n got %x\nwant %s", router, got, frame)
		}
	}
}
