package setup

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/host"
)

// TestHostPrepareIsAdvised where it has something to do, and not else.
func TestHostPrepareIsAdvised(t *testing.T) {
	defer func(out, err func() io.Writer) { command.Stdout.To, command.Stderr.To = out, err }(command.Stdout.To, command.Stderr.To)
	sysctl := host.Finding{Kind: "sysctl", Name: "net.ipv4.ip_forward", Have: "0", Want: "1", Remedy: "sysctl -w net.ipv4.ip_forward=1"}
	absent := host.Finding{Kind: "module", Name: "ip_vs_mh", Have: "absent from kernel 6.12", Want: "loaded"}
	for _, c := range []struct {
		findings []host.Finding
		advised  bool
	}{
		{[]host.Finding{absent}, false},
		{[]host.Finding{absent, sysctl}, true},
	} {
		var out, hint bytes.Buffer
		command.Stdout.To, command.Stderr.To = func() io.Writer { return &out }, func() io.Writer { return &hint }
		if err := (HostChecked{Findings: c.findings}).print(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(hint.String(), "lvsd host prepare") != c.advised || !strings.Contains(out.String(), absent.Have) {
			t.Errorf("%v:\n%s%s", c.findings, &out, &hint)
		}
	}
}
