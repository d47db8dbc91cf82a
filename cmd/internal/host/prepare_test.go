package host

import (
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"lvsd/integration/lab"
)

// TestMasqueradingRules: nft takes the rules, finds them again, and other
// servers replace them without touching any other table.
func TestMasqueradingRules(t *testing.T) {
	lab.RequireNamespaces(t)
	_, err := exec.LookPath("nft") // package nftables
	lab.Require(t, err)
	runtime.LockOSThread() // the thread ends with the test
	there, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
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
