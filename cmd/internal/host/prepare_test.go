package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvsd/config"
	"lvsd/integration/lab"
)

// TestMasqueradingRules: nft accepts the rules, they are found again, and other servers
// replace them without touching any other table.
func TestMasqueradingRules(t *testing.T) {
	inNamespace(t)
	if out, err := exec.Command("nft", "add", "table", "ip", "theirs").CombinedOutput(); err != nil {
		lab.Require(t, fmt.Errorf("this kernel has no nftables: %s", out))
	}
	servers := []netip.Addr{netip.MustParseAddr("10.78.0.21"), netip.MustParseAddr("10.78.0.22")}
	for _, u := range []uses{{nat4: servers}, {nat4: servers[:1]}, {nat6: []netip.Addr{netip.MustParseAddr("fd00::1")}}} {
		found := masquerading(u)
		if len(found) != 1 || found[0].OK {
			t.Fatalf("%+v", found)
		}
		for range 2 {
			if err := found[0].fix(); err != nil {
				t.Fatalf("%v\n%s", err, found[0].rules)
			}
		}
		if again := masquerading(u); !again[0].OK {
			t.Errorf("%+v", again)
		}
	}
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "table ip theirs") {
		t.Errorf("%v: %s", err, out)
	}
}

// inNamespace moves the test to a network namespace of its own, which has nft.
func inNamespace(t *testing.T) {
	t.Helper()
	lab.RequireNamespaces(t)
	_, err := exec.LookPath("nft") // package nftables
	lab.Require(t, err)
	runtime.LockOSThread() // the thread ends with the test
	there, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	if out, err := exec.Command("nft", "add", "table", "inet", "theirs").CombinedOutput(); err != nil {
		lab.Require(t, fmt.Errorf("this kernel has no nftables: %s", out))
	}
}

// TestSyncSources: a datagram to the group arrives from the directors' addresses alone, and
// other addresses of the configuration replace the rule.
func TestSyncSources(t *testing.T) {
	inNamespace(t)
	for _, command := range []string{"ip link set lo up", "ip address add 10.0.0.12/32 dev lo", "ip address add 10.0.0.99/32 dev lo"} {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 81), Port: 8848}
	in, err := net.ListenMulticastUDP("udp4", lo, group)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	// received sends from both addresses and returns the first that arrives.
	received := func() string {
		t.Helper()
		for _, from := range []string{"10.0.0.99", "10.0.0.12"} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			source := unix.SockaddrInet4{Addr: netip.MustParseAddr(from).As4()}
			if err := errors.Join(unix.Bind(fd, &source), unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(lo.Index)})); err != nil {
				t.Fatal(err)
			}
			// A packet that the filter drops on lo is an error of the sender at most.
			_ = unix.Sendto(fd, []byte(from), 0, &unix.SockaddrInet4{Port: 8848, Addr: [4]byte{224, 0, 0, 81}})
		}
		text := make([]byte, 64)
		_ = in.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := in.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	if from := received(); from != "10.0.0.99" {
		t.Fatalf("without the rule the first comes from %s", from)
	}
	if from := received(); from == "10.0.0.12" { // the second of before
		received()
	}
	a, b := netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("10.0.0.13")
	s := &config.Sync{Group: netip.MustParseAddr("224.0.0.81"), Port: 8848}
	if found, warnings := syncSources(s), unfilteredSync(s); len(found) != 0 || len(warnings) != 1 {
		t.Fatalf("without sources: %+v, %q", found, warnings)
	}
	for _, sources := range [][]netip.Addr{{b, netip.MustParseAddr("10.0.0.14")}, {a, b}} {
		s.Sources = sources
		found := syncSources(s)
		if len(found) != 1 || found[0].OK {
			t.Fatalf("before: %+v", found)
		}
		if err := found[0].fix(); err != nil {
			t.Fatalf("%v\n%s", err, found[0].rules)
		}
		if found = syncSources(s); !found[0].OK {
			t.Fatalf("after: %+v", found)
		}
	}
	if from := received(); from != "10.0.0.12" {
		t.Errorf("with the rule a message of %s arrived", from)
	}
}
