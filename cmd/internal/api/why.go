package api

// Why explains weights: every cause, and the last probes behind the verdict.

import (
	"fmt"
	"net/http"
	"time"

	"lvsd/checker"
)

// Why is the answer to `lvsd why`: the servers that were asked for.
type Why struct {
	Service string      `json:"service"`
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
	Type    string `json:"type"`
	Address string `json:"address"`
	Verdict string `json:"verdict"`
	Cause   string `json:"cause,omitempty"`
	// InARow results speak against the verdict; Needed of them change it.
	InARow  int     `json:"in_a_row"`
	Needed  int     `json:"needed"`
	History []Probe `json:"history"` // up to 32, oldest first
}

// why answers GET /api/v1/why?service=NAME[&real_server=IP:PORT].
func (s *Server) why(w http.ResponseWriter, r *http.Request) {
	service, realServer := r.FormValue("service"), r.FormValue("real_server")
	for _, svc := range s.Status(r.Context()).Services {
		if svc.Name != service {
			continue
		}
		out := Why{Service: service, Servers: []WhyServer{}}
		for _, rs := range svc.RealServers {
			if realServer == "" || rs.Address == realServer {
				h, _ := s.Daemon.Explain(checker.ID{Service: service, RealServer: rs.Address})
				out.Servers = append(out.Servers, explain(rs, h))
			}
		}
		if len(out.Servers) == 0 && realServer != "" {
			http.Error(w, fmt.Sprintf("service %s has no real server %s", service, realServer), http.StatusNotFound)
			return
		}
		answer(w, http.StatusOK, out)
		return
	}
	http.Error(w, fmt.Sprintf("there is no service %s", service), http.StatusNotFound)
}

func explain(rs RealServerStatus, h checker.Health) WhyServer {
	out := WhyServer{RealServerStatus: rs, Checks: []WhyCheck{}, Missing: []string{}}
	if rs.Configured == 0 {
		out.Missing = append(out.Missing, "a weight above 0 in the file, and a reload")
	}
	for _, c := range h.Checks {
		check := WhyCheck{Type: c.Type, Verdict: c.Verdict.String(), Cause: c.Cause, InARow: c.InARow, Needed: c.Needed, History: []Probe{}}
		if c.Address.IsValid() {
			check.Address = c.Address.String()
		}
		for _, p := range c.History {
			check.History = append(check.History, probe(c.Type, p))
		}
		if c.Verdict != checker.Up {
			out.Missing = append(out.Missing, fmt.Sprintf("%d good probes of %s %s in a row (%d so far)", c.Needed, c.Type, check.Address, c.InARow))
		}
		out.Checks = append(out.Checks, check)
	}
	return out
}

func probe(kind string, r checker.Result) Probe {
	return Probe{At: r.At, Type: kind, Reason: string(r.Reason), Phase: r.Phase, Detail: r.Detail, Took: r.Took.Seconds()}
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
