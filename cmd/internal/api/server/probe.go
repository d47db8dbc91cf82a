package server

import (
	"net/http"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
)

// probeCommands adds the handlers to the control socket.
func (s *Server) probeCommands(mux *http.ServeMux) {
	mux.HandleFunc("POST /control/v1/probe", func(w http.ResponseWriter, r *http.Request) {
		id := checker.ID{Service: r.FormValue("service"), RealServer: r.FormValue("real_server")}
		done, err := s.Daemon.RunMarkProbes(r.Context(), id)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		all := []api.ProbeReport{}
		for _, d := range done {
			all = append(all, api.NewProbeReport(id, d.Check, d.Trace))
		}
		answer(w, http.StatusOK, all)
	})
}
