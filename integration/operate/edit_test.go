package operate_test

import (
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestEditCommands drains a server by lvsd drain: the file is edited, its connections move
// to the other server, the peer that has not reloaded is named, and lvsd undrain leaves the
// file as it was.
func TestEditCommands(t *testing.T) {
	p := exchangePair(t, 2)
	lb := p.LB[0]
	real := p.Real[1].Addr().String() + ":80"
	before := p.ConfigText()
	run := func(args ...string) string {
		t.Helper()
		out, err := lb.LVSD(append(args, "-c", p.ConfigFile, "--director", lb.Name, "--socket", lb.Socket)...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	if out := run("drain", "web", real, "--until", "1h"); !lvsdtest.ContainsAll(out, "+", "drain_until = ", "reloaded", p.LB[1].Name+" still has weight 1 for it") {
		t.Errorf("lvsd drain printed\n%s", out)
	}
	lb.WaitWeight(real, 0, 10*time.Second)
	p.LB[1].MustReload()
	if out := run("undrain", "web", real); !strings.Contains(out, p.LB[1].Name+" still drains it") {
		t.Errorf("lvsd undrain printed\n%s", out)
	}
	lb.WaitWeight(real, 1, 10*time.Second)
	if after := p.ConfigText(); after != before {
		t.Errorf("the file is\n%s\nand was\n%s", after, before)
	}
}
