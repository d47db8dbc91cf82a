package api

// What the control socket offers of handovers.

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"lvsd/cmd/internal/director"
)

// Handover is what became of a handover, or of its end.
type Handover struct {
	OK bool `json:"ok"`
	// Refused is why nothing was done.
	Refused   []string     `json:"refused,omitempty"`
	Elections []HandedOver `json:"elections"`
	// Until is when this director stands for election as configured again; zero:
	// when it is told to.
	Until time.Time `json:"until,omitzero"`
	// Ended are the elections from which this director stays away no longer.
	Ended []string `json:"ended,omitempty"`
}

// HandedOver is what became of one election.
type HandedOver struct {
	VRRP      string  `json:"vrrp"`
	WasMaster bool    `json:"was_master"`
	To        string  `json:"to,omitempty"` // who has the addresses now
	Took      float64 `json:"took_seconds"` // until the successor was heard
	Left      float64 `json:"left_seconds"` // until the addresses were off this director
	Failed    string  `json:"failed,omitempty"`
}

// handoverCommands adds them to the control socket.
func (s *Server) handoverCommands(mux *http.ServeMux) {
	mux.HandleFunc("POST /control/v1/handover", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		h := director.Handover{Election: q.Get("vrrp"), Force: q.Get("force") != ""}
		if text := q.Get("for"); text != "" {
			var err error
			if h.For, err = time.ParseDuration(text); err != nil || h.For <= 0 {
				http.Error(w, fmt.Sprintf("for: %q is no time above 0", text), http.StatusBadRequest)
				return
			}
		}
		began := time.Now()
		// Whoever asked may go away: what was begun is watched to its end.
		done, err := s.Daemon.HandOver(context.WithoutCancel(r.Context()), h)
		answer(w, http.StatusOK, newHandover(began, h, done, err))
	})
	mux.HandleFunc("POST /control/v1/handover/end", func(w http.ResponseWriter, r *http.Request) {
		ended, err := s.Daemon.EndHandover(r.Context(), r.URL.Query().Get("vrrp"))
		answer(w, http.StatusOK, Handover{OK: err == nil, Refused: Lines(err), Elections: []HandedOver{}, Ended: ended})
	})
}

func newHandover(began time.Time, h director.Handover, done []director.HandedOver, err error) Handover {
	out := Handover{OK: err == nil, Refused: Lines(err), Elections: []HandedOver{}}
	if h.For > 0 {
		out.Until = began.Add(h.For)
	}
	for _, e := range done {
		one := HandedOver{VRRP: e.Election, WasMaster: e.Master, Took: e.Took.Seconds(), Left: e.Left.Seconds(), Failed: e.Failed}
		if e.To.IsValid() {
			one.To = e.To.String()
		}
		out.OK = out.OK && e.Failed == ""
		out.Elections = append(out.Elections, one)
	}
	return out
}

// HandOver asks for a handover and waits for its end.
func (c *Client) HandOver(ctx context.Context, election string, lasts time.Duration, force bool) (Handover, error) {
	q := url.Values{"vrrp": {election}}
	if lasts > 0 {
		q.Set("for", lasts.String())
	}
	if force {
		q.Set("force", "1")
	}
	return call[Handover](ctx, c, http.MethodPost, "/control/v1/handover?"+q.Encode())
}

// EndHandover ends one, or all.
func (c *Client) EndHandover(ctx context.Context, election string) (Handover, error) {
	return call[Handover](ctx, c, http.MethodPost, "/control/v1/handover/end?"+url.Values{"vrrp": {election}}.Encode())
}
