package operate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/api"
)

// TestReloadNamesTheOutdated: directors that reply and run another configuration, and only
// those. A reply from before the reload is no proof, for some time.
func TestReloadNamesTheOutdated(t *testing.T) {
	type replies map[time.Duration][]api.PeerStatus // by how long after the reload
	old := func(name string, at time.Time) api.PeerStatus {
		return api.PeerStatus{Director: name, Up: true, ConfigHash: "old", At: at}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		late := began.Add(time.Millisecond)
		current := api.PeerStatus{Director: "lb2", Up: true, ConfigHash: "new", At: began.Add(-time.Second)}
		for name, c := range map[string]struct {
			replies replies
			want    []string
			after   time.Duration
		}{
			"none":                  {replies{0: {current}}, nil, 0},
			"some":                  {replies{0: {current, old("lb3", late), {Director: "lb4", ConfigHash: "old"}, old("lb5", late)}}, []string{"lb3", "lb5"}, 0},
			"reloaded a moment ago": {replies{0: {old("lb2", began.Add(-1))}, time.Second: {current}}, nil, time.Second},
			"replies again":         {replies{0: {old("lb2", began.Add(-1))}, time.Second: {old("lb2", late)}}, []string{"lb2"}, time.Second},
			"does not":              {replies{0: {old("lb2", began.Add(-1))}}, []string{"lb2"}, replyLimit + replyPoll},
		} {
			start := time.Now()
			got := outdated(t.Context(), func(context.Context) (api.Status, error) {
				s := api.Status{Peers: c.replies[0]}
				if later := c.replies[time.Second]; later != nil && time.Since(start) >= time.Second {
					s.Peers = later
				}
				return s, nil
			}, "new", began)
			if took := time.Since(start); !slices.Equal(got, c.want) || took != c.after {
				t.Errorf("%s: %v after %v", name, got, took)
			}
		}
		gone := func(context.Context) (api.Status, error) { return api.Status{}, errors.New("gone") }
		if got := outdated(t.Context(), gone, "new", began); got != nil {
			t.Errorf("no daemon: %v", got)
		}
	})
}
