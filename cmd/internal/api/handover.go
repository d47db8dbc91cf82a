// This file has handovers.

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Handover is the outcome of a handover, or of ending one.
type Handover struct {
	OK bool `json:"ok"`
	// Refused is why nothing was done.
	Refused   []string     `json:"refused,omitempty"`
	Instances []HandedOver `json:"elections"`
	// Until is when the standby ends; zero: when it is ended by a command.
	Until time.Time `json:"until,omitzero"`
	// Ended are the instances whose standby was ended.
	Ended []string `json:"ended,omitempty"`
}

// HandedOver is the outcome of one instance.
type HandedOver struct {
	VRRP string `json:"vrrp"`
	// Announce is an announcement, for which vrrp is empty: was_master is then that it was
	// announced, left_seconds until its routes were removed.
	Announce  string  `json:"announce,omitempty"`
	WasMaster bool    `json:"was_master"`
	To        string  `json:"to,omitempty"` // the new master
	Took      float64 `json:"took_seconds"` // until the successor's first advert
	Removed   float64 `json:"left_seconds"` // until the addresses were removed here
	Failed    string  `json:"failed,omitempty"`
}

// HandOver requests a handover and waits for its end.
func (c *Client) HandOver(ctx context.Context, instance string, lasts time.Duration, force bool) (Handover, error) {
	q := url.Values{"vrrp": {instance}}
	if lasts > 0 {
		q.Set("for", lasts.String())
	}
	if force {
		q.Set("force", "1")
	}
	return call[Handover](ctx, c, http.MethodPost, "/control/v1/handover?"+q.Encode())
}

// EndHandover ends the standby of one instance, or of all.
func (c *Client) EndHandover(ctx context.Context, instance string) (Handover, error) {
	return call[Handover](ctx, c, http.MethodPost, "/control/v1/handover/end?"+url.Values{"vrrp": {instance}}.Encode())
}
