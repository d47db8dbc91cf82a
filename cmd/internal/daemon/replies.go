// This file changes the settings of interfaces that checks through a mark need.

package daemon

import (
	"context"
	"sync/atomic"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/host"
)

// replies is a host whose settings are changed in a goroutine of its own: what they were
// is written to disk first, for which the director's loop must not wait.
type replies struct {
	host.ReplyAcceptor
	changes disk.Writer[[]string]
	used    atomic.Bool // interfaces were changed, or were to be
}

func newReplies(h host.ReplyAcceptor) *replies {
	r := &replies{ReplyAcceptor: h}
	r.changes.Write = func(interfaces []string) error {
		err := r.ReplyAcceptor.AcceptLocal(interfaces)
		switch {
		case err != nil && len(interfaces) > 0:
			h.Log.Error("checks with through may fail while this director is master", "reason", err)
		case err != nil:
			h.Log.Warn("kernel settings that were changed for checks with through may not be restored", "reason", err)
		}
		return err
	}
	return r
}

// AcceptLocal is that of the host, and does not wait for it.
func (r *replies) AcceptLocal(interfaces []string) error {
	if len(interfaces) > 0 {
		r.used.Store(true)
	}
	r.changes.Save(interfaces)
	return nil
}

// restore restores all settings at the end, if the disk replies in time. What an earlier run
// left was restored at the start.
func (r *replies) restore() error {
	if !r.used.Load() {
		return nil
	}
	return disk.Await(context.Background(), r.changes.Save(nil), flushTimeout)
}
