// This file asks, of probes that this machine's own kernel leads, whether it did:
// without its path such a probe goes to whoever has the address, and what it finds
// says nothing about the server. It never looks at the kernel itself.

package checker

import (
	"context"
	"lvsd/checker/outcome"
	"slices"
	"time"
)

// needsPathCheck says that a result which may change a verdict came by a path that is to
// be asked for first.
func (e *Engine) needsPathCheck(a *arrival) bool {
	p, r := a.probe, &a.result
	if p.mark == 0 || a.pathChecked || p.gone || e.o.PathFault == nil || r.Reason == outcome.Local || r.Reason == outcome.DNS {
		return false
	}
	return slices.ContainsFunc(p.checks, func(j *checkState) bool { return j.riseFall.verdict != verdictOf(r.Reason == outcome.OK) })
}

// pathCheckTimeout is how long the answer may take. None is as good as a bad one.
const pathCheckTimeout = 10 * time.Second

// checkPath asks for the path, beside the loop. Where it may not have stood, the probe
// says nothing about the server.
func (e *Engine) checkPath(ctx context.Context, a arrival) {
	a.pathChecked = true
	e.background.Go(func() {
		limited, cancel := context.WithTimeout(ctx, pathCheckTimeout)
		defer cancel()
		err := e.o.PathFault(limited, a.probe.mark, a.result.At)
		if ctx.Err() != nil {
			return // the answer is our own stop's
		}
		if err != nil {
			a.result.Reason, a.result.Detail = outcome.Local, outcome.Printable(err.Error(), outcome.MaxDetail)
		}
		e.deliver(a)
	})
}
