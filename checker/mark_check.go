package checker

import (
	"context"
	"lvsd/checker/outcome"
	"slices"
	"time"
)

// A probe through a firewall-mark service is led to the server by this machine's kernel.
// Without the service it reaches whatever host has the address, and its result says
// nothing about the server.
//
// needsPathCheck reports whether a result that may change a state came by such a path
// that has not been checked yet.
func (e *Engine) needsPathCheck(a *arrival) bool {
	p, r := a.probe, &a.result
	if p.mark == 0 || a.pathChecked || p.removed || e.o.PathFault == nil || !r.Reason.Conclusive() {
		return false
	}
	return slices.ContainsFunc(p.checks, func(j *checkState) bool { return j.riseFall.state != stateOf(r.Reason == outcome.OK) })
}

// pathCheckTimeout bounds PathFault. A timeout counts as a fault.
const pathCheckTimeout = 10 * time.Second

// checkPath asks for the path in the background. If it was not intact, the probe says
// nothing about the server.
func (e *Engine) checkPath(ctx context.Context, a arrival) {
	a.pathChecked = true
	e.background.Go(func() {
		limited, cancel := context.WithTimeout(ctx, pathCheckTimeout)
		defer cancel()
		err := e.o.PathFault(limited, a.probe.mark, a.result.At)
		if ctx.Err() != nil {
			return // cancelled, not an answer
		}
		if err != nil {
			a.result.Reason, a.result.Detail = outcome.Local, outcome.Printable(err.Error(), outcome.MaxDetail)
		}
		e.deliver(a)
	})
}
