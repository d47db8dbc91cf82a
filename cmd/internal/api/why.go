// Why explains weights: every cause, and the last probes behind the health.

package api

import (
	"net/netip"
	"strings"
	"time"

	"lvsd/checker/outcome"
)

// Why is the answer to `lvsd why`: the servers that were asked for.
type Why struct {
	Service string      `json:"service"`
	File    string      `json:"file"` // of the configuration, whose lines the causes name
	Servers []WhyServer `json:"real_servers"`
}

// WhyServer is one real server with everything behind its weight.
type WhyServer struct {
	RealServerStatus
	Checks []WhyCheck `json:"checks"`
	// Missing is what must happen for the configured weight; empty when it
	// holds.
	Missing []string `json:"missing"`
}

// WhyCheck is one check of a real server with its last outcomes.
type WhyCheck struct {
	Name    string `json:"name"` // unique among those of the server
	Type    string `json:"type"`
	Address string `json:"address"`
	Health  string `json:"verdict"`
	Cause   string `json:"cause,omitempty"`
	// InARow results contradict Health; Needed of them change it.
	InARow  int     `json:"in_a_row"`
	Needed  int     `json:"needed"`
	History []Probe `json:"history"` // up to 32, oldest first
}

// MeansServer reports whether a real server, "ip:port", is the one that a command names: by
// that, or by the address alone, as the file may write it.
func MeansServer(server, given string) bool {
	if server == given {
		return true
	}
	at, err1 := netip.ParseAddrPort(server)
	address, err2 := netip.ParseAddr(strings.Trim(given, "[]"))
	return err1 == nil && err2 == nil && at.Addr() == address
}

// NewProbe is the JSON of the result of a check of a name and type.
func NewProbe(name, kind string, r outcome.Result) Probe {
	return Probe{At: r.At, Check: name, Type: kind, Reason: string(r.Reason), Phase: r.Phase, Detail: r.Detail, Took: r.Took.Seconds()}
}

// Age is how long ago a moment was, as people say it.
func Age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	if d < time.Minute {
		return d.Round(100*time.Millisecond).String() + " ago"
	}
	return d.Round(time.Second).String() + " ago"
}
