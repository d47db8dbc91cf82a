package operate_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestNotifyStatePrograms: the programs of an election and of its sync group are run with
// keepalived's arguments at the start, at a takeover and at the stop, in order.
func TestNotifyStatePrograms(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	lb := p.LB[0]
	got := p.Path("got")
	program := p.WriteFile("notify", "#!/bin/sh\necho \"$*\" >> "+got+"\n")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	for _, state := range []string{"master", "backup", "fault", "stop"} {
		fmt.Fprintf(&keys, "notify_%s = [%q]\n", state, program)
	}
	p.VRRPKeys = "sync_group = \"gateway\"\n" + keys.String() + "[[sync_group]]\nname = \"gateway\"\n" + keys.String()
	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	lines := func(kind string) string {
		text, err := os.ReadFile(got)
		if err != nil {
			return ""
		}
		return strings.Join(regexp.MustCompile("(?m)^"+kind+" .*$").FindAllString(string(text), -1), ", ")
	}
	wait := func(kind, want string) {
		t.Helper()
		p.WaitUntil(20*time.Second, want, func() bool { return lines(kind) == want })
	}
	wait("INSTANCE", "INSTANCE web BACKUP 200, INSTANCE web MASTER 200")
	wait("GROUP", "GROUP gateway BACKUP 200, GROUP gateway MASTER 200")
	lb.StopDaemon()
	if text := lines("INSTANCE"); !strings.HasSuffix(text, ", INSTANCE web STOP 200") {
		t.Errorf("after the stop: %s", text)
	}
	if text := lines("GROUP"); !strings.HasSuffix(text, ", GROUP gateway STOP 200") {
		t.Errorf("after the stop: %s", text)
	}
}
