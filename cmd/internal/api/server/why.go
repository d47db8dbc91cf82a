package server

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/httpgzip"
)

// why serves GET /api/v1/why?service=NAME[&real_server=IP:PORT], or IP alone.
func (s *Server) why(w http.ResponseWriter, r *http.Request) {
	out, err := s.explained(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, out)
}

// publicWhy is why on http_listen, whose clients must not take more memory, nor the
// processor from the command's.
func (s *Server) publicWhy(w http.ResponseWriter, r *http.Request) {
	body, err := s.packedWhy(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	writePacked(w, r, body)
}

// packedWhy is made one at a time: each takes a status of its own.
func (s *Server) packedWhy(r *http.Request) (*httpgzip.Body, error) {
	s.explaining.Lock()
	defer s.explaining.Unlock()
	out, err := s.explained(r)
	if err != nil {
		return nil, err
	}
	return encode(out)
}

// explained is the response of why. The error says what exists.
func (s *Server) explained(r *http.Request) (out api.Why, err error) {
	service, realServer := r.FormValue("service"), r.FormValue("real_server")
	status := s.Status(r.Context())
	var names, servers []string
	for _, svc := range status.Services {
		if svc.Name != service {
			names = append(names, svc.Name)
			continue
		}
		out = api.Why{Service: service, File: status.Config.File, Servers: []api.WhyServer{}}
		for _, rs := range svc.RealServers {
			servers = append(servers, rs.Address)
			if realServer == "" || api.MeansServer(rs.Address, realServer) {
				h, _ := s.Daemon.Explain(checker.ID{Service: service, RealServer: rs.Address})
				out.Servers = append(out.Servers, explain(svc, rs, h))
			}
		}
		if len(out.Servers) == 0 && realServer != "" {
			return out, api.UnknownServer(service, realServer, servers)
		}
		return out, nil
	}
	return out, api.UnknownService(service, names)
}

func explain(svc api.ServiceStatus, rs api.RealServerStatus, h checker.Health) api.WhyServer {
	out := api.WhyServer{RealServerStatus: rs, Checks: []api.WhyCheck{}, Missing: []string{}}
	for _, c := range rs.Causes {
		if m := missing(svc, rs, c); m != "" {
			out.Missing = append(out.Missing, m)
		}
	}
	for _, c := range h.Checks {
		check := api.WhyCheck{Name: c.Name, Type: c.Type, Health: c.State.String(), Cause: c.Cause, InARow: c.InARow, Needed: c.Needed, History: []api.Probe{}}
		if c.Address.IsValid() {
			check.Address = c.Address.String()
		}
		for _, p := range c.History {
			check.History = append(check.History, api.NewProbe(c.Name, c.Type, p))
		}
		if c.State != checker.Up {
			out.Missing = append(out.Missing, fmt.Sprintf("%d successful checks in a row of %s %s (%d/%d)", c.Needed, cmp.Or(c.Name, c.Type), check.Address, c.InARow, c.Needed))
		}
		out.Checks = append(out.Checks, check)
	}
	return out
}

// missing is what ends a cause; empty for one that reduces nothing, and for the
// checks, which have their own text.
func missing(svc api.ServiceStatus, rs api.RealServerStatus, c decision.Cause) string {
	switch {
	case c.Kind == decision.CauseDrain && !c.Until.IsZero():
		return fmt.Sprintf("%s, or lvsd undrain", c.Until.Format(time.RFC3339))
	case c.Kind == decision.CauseDrain:
		return "a weight above 0 in the file, and a reload"
	case c.Kind == decision.CauseUnchecked:
		return "this director to be able to check it: " + rs.Unchecked
	case c.Weight >= rs.Configured:
		return ""
	}
	switch c.Kind {
	case decision.CauseAgent:
		return "a higher weight reported by its agent or program: " + c.Text
	case decision.CauseSlowStart:
		return "the end of slow start at " + c.Until.Format(time.RFC3339)
	case decision.CausePending:
		return "the first result of each check"
	case decision.CauseDamping:
		return "the end of flap damping at " + c.Until.Format(time.RFC3339)
	case decision.CauseFallback:
		return fmt.Sprintf("the quorum of the service: available weight %d of %d", svc.AvailableWeight, svc.Quorum)
	}
	return ""
}
