package ipvs_test

import (
	"strings"
	"testing"

	. "lvsd/ipvs"
)

func TestParseEncap(t *testing.T) {
	for _, c := range []struct {
		kind     string
		port     uint16
		checksum string
		want     string // of String; "" is a refusal
	}{
		{"", 0, "", "ipip"}, {"ipip", 0, "none", "ipip"}, {"gue", 6080, "none", "gue port 6080"},
		{"gue", 6080, "csum", "gue port 6080 csum"}, {"gue", 6080, "remcsum", "gue port 6080 remcsum"},
		{"gre", 0, "none", "gre"}, {"gre", 0, "csum", "gre csum"},
		{"gue", 0, "none", ""}, {"gre", 1, "none", ""}, {"ipip", 1, "none", ""}, {"ipip", 0, "csum", ""},
		{"gre", 0, "remcsum", ""}, {"vxlan", 0, "none", ""}, {"gue", 1, "crc", ""},
	} {
		e, err := ParseEncap(c.kind, c.port, c.checksum)
		if got := e.String(); (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("%q %d %q: %s, %v", c.kind, c.port, c.checksum, got, err)
		}
	}
}

func TestSchedulerFlagNames(t *testing.T) {
	f, err := ParseSchedulerFlags([]string{"sh-fallback", "sh-port", "flag-3"})
	if err != nil || f != Sched1|Sched2|Sched3 {
		t.Fatal(f, err)
	}
	if g, err := ParseSchedulerFlags([]string{"mh-fallback", "mh-port"}); err != nil || g != Sched1|Sched2 {
		t.Error(g, err)
	}
	if got := strings.Join((f | OnePacket | 0x100).Names("sh"), ","); got != "one-packet,sh-fallback,sh-port,flag-3,0x100" {
		t.Error(got)
	}
	if got := strings.Join(f.Names("wlc"), ","); got != "flag-1,flag-2,flag-3" {
		t.Error(got)
	}
	if _, err := ParseSchedulerFlags([]string{"no-fallback"}); err == nil {
		t.Error("no-fallback is no flag of the kernel")
	}
}
