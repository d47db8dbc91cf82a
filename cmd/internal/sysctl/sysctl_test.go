package sysctl

import (
	"os"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	if got := file("net.ipv4.conf.eth0/7.rp_filter"); got != "/proc/sys/net/ipv4/conf/eth0.7/rp_filter" {
		t.Errorf("%s", got)
	}
}

func TestRead(t *testing.T) {
	want, err := os.ReadFile("/proc/sys/kernel/ostype")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read("kernel.ostype"); err != nil || got != strings.TrimSpace(string(want)) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Read("net.ipv4.conf.no-such-device.rp_filter"); err != nil || got != "" {
		t.Errorf("a missing one: %q, %v", got, err)
	}
}
