package connhandover

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"lvsd/integration/lab"
)

// inNamespace gives the test a network of its own.
func inNamespace(t *testing.T) {
	lab.RequireNamespaces(t)
	runtime.LockOSThread() // and never unlocks it: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatal(err)
	}
}

func rules(t *testing.T) (ours []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		out, err := exec.Command("ip", family, "rule").CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "112:") {
				ours = append(ours, strings.Join(strings.Fields(line)[1:], " "))
			}
		}
	}
	return ours
}

func set(addresses ...string) map[netip.AddrPort]struct{} {
	out := map[netip.AddrPort]struct{}{}
	for _, a := range addresses {
		out[netip.MustParseAddrPort(a)] = struct{}{}
	}
	return out
}

func TestSet(t *testing.T) {
	inNamespace(t)
	var h Rules
	want := func(when string, err error, want ...string) {
		t.Helper()
		got := strings.Join(rules(t), "; ")
		if err != nil || got != strings.Join(want, "; ") {
			t.Errorf("%s: %v\n%s\nwant %s", when, err, got, want)
		}
	}
	const web, six = "from 10.0.0.88 ipproto tcp sport 80 blackhole proto 112", "from 2001:db8::88 ipproto tcp sport 443 blackhole proto 112"
	want("without an address", h.Set(nil))
	want("two", h.Set(set("10.0.0.88:80", "[2001:db8::88]:443")), web, six)
	want("again", h.Set(set("10.0.0.88:80", "[2001:db8::88]:443")), web, six)
	want("one", h.Set(set("10.0.0.88:80")), web)
	var next Rules // another run finds what a killed one left, and no other's
	if out, err := exec.Command("ip", "rule", "add", "from", "10.0.0.99", "priority", "112", "blackhole").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	want("another run", next.Set(set("[2001:db8::88]:443")), "from 10.0.0.99 blackhole", six)
	if out, err := exec.Command("ip", "-6", "rule", "del", "priority", "112").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	want("removed by another process", next.Close(), "from 10.0.0.99 blackhole")
}
