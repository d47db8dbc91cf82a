package host

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// TestMasqueradingRules: nft takes the rules, finds them again, and other
// servers replace them without touching anybody else's table.
func TestMasqueradingRules(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and nft (package nftables)")
	}
	runtime.LockOSThread() // the thread ends with the test
	there, err := netns.New()
	if err != nil {
		t.Skipf("needs a network namespace: %v", err)
	}
	defer there.Close()
	if out, err := exec.Command("nft", "add", "table", "ip", "theirs").CombinedOutput(); err != nil {
		t.Skipf("needs nftables in the kernel: %s", out)
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
