package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/director"
)

// handoverCommands adds the handlers to the control socket.
func (s *Server) handoverCommands(mux *http.ServeMux) {
	mux.HandleFunc("POST /control/v1/handover", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		h := director.Handover{Instance: q.Get("vrrp"), Force: q.Get("force") != ""}
		if text := q.Get("for"); text != "" {
			var err error
			if h.For, err = time.ParseDuration(text); err != nil || h.For <= 0 {
				http.Error(w, fmt.Sprintf("for: %q is not a positive duration", text), http.StatusBadRequest)
				return
			}
		}
		began := time.Now()
		// A handover that has begun is watched to its end even if the client disconnects.
		done, err := s.Daemon.HandOver(context.WithoutCancel(r.Context()), h)
		answer(w, http.StatusOK, newHandover(began, h, done, err))
	})
	mux.HandleFunc("POST /control/v1/handover/end", func(w http.ResponseWriter, r *http.Request) {
		ended, err := s.Daemon.EndHandover(r.Context(), r.URL.Query().Get("vrrp"))
		answer(w, http.StatusOK, api.Handover{OK: err == nil, Refused: api.Lines(err), Instances: []api.HandedOver{}, Ended: ended})
	})
}

func newHandover(began time.Time, h director.Handover, done []director.HandedOver, err error) api.Handover {
	out := api.Handover{OK: err == nil, Refused: api.Lines(err), Instances: []api.HandedOver{}}
	if h.For > 0 {
		out.Until = began.Add(h.For)
	}
	for _, e := range done {
		one := api.HandedOver{VRRP: e.Instance, Announce: e.Announce, WasMaster: e.Master, Took: e.Took.Seconds(), Removed: e.Removed.Seconds(), Failed: e.Failed}
		if e.To.IsValid() {
			one.To = e.To.String()
		}
		out.OK = out.OK && e.Failed == ""
		out.Instances = append(out.Instances, one)
	}
	return out
}
