// This file has the status as a monitoring plugin prints it.

package status

import (
	"fmt"
	"slices"
	"strings"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/printable"
)

// The exit codes of a monitoring plugin.
const (
	pluginOK = iota
	pluginWarning
	pluginCritical
	pluginUnknown
)

var pluginStates = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// Check returns the line and the exit code of a monitoring plugin: the most urgent
// problem, and performance data. With services only their problems count.
func Check(s api.Status, services []string) (line string, code int) {
	var problems []string
	count := func(service string) bool { return len(services) == 0 || slices.Contains(services, service) }
	for _, p := range s.ProblemDetails {
		if !count(p.Service) {
			continue
		}
		problems = append(problems, oneLine(p.Text))
		if p.Severity == api.Critical {
			code = pluginCritical
		} else {
			code = max(code, pluginWarning)
		}
	}
	shown, down, servers, serversDown, open := 0, 0, 0, 0, uint64(0)
	for _, svc := range s.Services {
		if !count(svc.Name) {
			continue
		}
		shown++
		if !svc.Up {
			down++
		}
		servers += len(svc.RealServers)
		open += activeOf(svc)
		for _, rs := range svc.RealServers {
			if rs.Health == "down" {
				serversDown++
			}
		}
	}
	text := printable.Count(shown, "service") + ", " + printable.Count(servers, "real server")
	if len(problems) > 0 {
		text = problems[0]
	}
	if more := len(problems) - 1; more > 0 {
		text += ", and " + printable.Count(more, "more problem")
	}
	data := fmt.Sprintf("services=%d services_down=%d real_servers=%d real_servers_down=%d connections=%d", shown, down, servers, serversDown, open)
	return checkLine(code, text) + " | " + data, code
}

// checkLine is the line of a state without performance data.
func checkLine(code int, text string) string {
	return "LVSD " + pluginStates[code] + ": " + strings.ReplaceAll(text, "|", "/")
}

// CheckFailure is the line and the exit code where there is no status: critical where
// the daemon is not running.
func CheckFailure(err error, noDaemon bool) (line string, code int) {
	if code = pluginUnknown; noDaemon {
		code = pluginCritical
	}
	return checkLine(code, oneLine(err.Error())), code
}
