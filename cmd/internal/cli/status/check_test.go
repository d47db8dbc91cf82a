package status

import (
	"errors"
	"testing"

	"lvsd/cmd/internal/api"
)

// TestCheck: the form of a monitoring plugin, one line with performance data.
func TestCheck(t *testing.T) {
	well := wellPair()
	warned := wellPair()
	warned.ProblemDetails = []api.Problem{{Severity: api.Warning, Text: "a | b\nc"}}
	ill := wellPair()
	ill.Services[0].Up, ill.Services[0].RealServers[0].Health = false, "down"
	ill.ProblemDetails = []api.Problem{{Severity: api.Warning, Director: "lb2", Text: "peer"}, {Severity: api.Critical, Service: "web", Text: "service web: quorum lost"}}
	for _, c := range []struct {
		status   api.Status
		services []string
		code     int
		want     string
	}{
		{well, nil, 0, "LVSD OK: 1 service, 2 real servers | services=1 services_down=0 real_servers=2 real_servers_down=0 connections=144"},
		{warned, nil, 1, "LVSD WARNING: a / b … | services=1 services_down=0 real_servers=2 real_servers_down=0 connections=144"},
		{ill, nil, 2, "LVSD CRITICAL: peer, and 1 more problem | services=1 services_down=1 real_servers=2 real_servers_down=1 connections=144"},
		{ill, []string{"web"}, 2, "LVSD CRITICAL: service web: quorum lost | services=1 services_down=1 real_servers=2 real_servers_down=1 connections=144"},
		{warned, []string{"web"}, 0, "LVSD OK: 1 service, 2 real servers | services=1 services_down=0 real_servers=2 real_servers_down=0 connections=144"},
	} {
		if line, code := Check(c.status, c.services); line != c.want || code != c.code {
			t.Errorf("%d %s", code, line)
		}
	}
	if line, code := CheckFailure(errors.New("cannot connect"), true); line != "LVSD CRITICAL: cannot connect" || code != 2 {
		t.Errorf("%d %s", code, line)
	}
	if line, code := CheckFailure(errors.New("no permission"), false); line != "LVSD UNKNOWN: no permission" || code != 3 {
		t.Errorf("%d %s", code, line)
	}
}
