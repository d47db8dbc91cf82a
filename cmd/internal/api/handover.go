// What the control socket offers of handovers.

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
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
