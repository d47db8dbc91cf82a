// This file has the edits of a configuration file that another director asks for.

package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lvsd/config/edit"
)

// editTimeout bounds an edit: a reload of a very large file takes seconds.
const editTimeout = 30 * time.Second

// Edit is a change of a real server's entry in the configuration file.
type Edit struct {
	edit.Change
	// Before is the hash of the configuration that is edited, the same on both directors.
	Before string `json:"before"`
}

// Edited is the outcome of an edit.
type Edited struct {
	Hash  string `json:"hash"` // of the configuration that runs there now
	Error string `json:"error,omitempty"`
}

// RequestEdit has a peer edit its file and reload.
func (e *Exchange) RequestEdit(ctx context.Context, director, service, realServer string, change Edit) (Edited, error) {
	s := e.setup.Load()
	if s == nil {
		return Edited{}, errors.New("[peers] is not configured, so no other director can be queried")
	}
	for _, p := range s.Peers {
		if p.Name == director {
			r, err := e.call(ctx, s, p, question{Want: wantEdit, Service: service, RealServer: realServer, Edit: &change})
			if err != nil {
				return Edited{}, fmt.Errorf("%s: %w", director, err)
			}
			return *r.Edited, nil
		}
	}
	return Edited{}, fmt.Errorf("there is no other director %q", director)
}

// edit makes the change that a peer asks for, where this director lets it.
func (e *Exchange) edit(ctx context.Context, q question) Edited {
	s := e.setup.Load()
	switch {
	case s == nil || !s.Edits || e.o.Edit == nil:
		return Edited{Error: "[peers] edits is not true there"}
	case q.Edit == nil:
		return Edited{Error: "no edit was given"}
	}
	e.o.Log.Info("peers: another director edits the configuration", "from", q.From, "service", q.Service, "real_server", q.RealServer, "do", q.Edit.Do)
	return e.o.Edit(ctx, q.Service, q.RealServer, *q.Edit)
}

// timeoutOf is how long a conversation about a request may take.
func timeoutOf(want string) time.Duration {
	if want == wantEdit {
		return editTimeout
	}
	return requestTimeout
}
