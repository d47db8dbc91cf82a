// This file asks, of probes that this machine's own kernel leads, whether it did:
// without its path such a probe goes to whoever has the address, and what it finds
// says nothing about the server. It never looks at the kernel itself.

package checker

import (
	"context"
	"slices"
	"time"
)

// doubts says that a result which may change a verdict came by a path that is to
// be asked for first.
func (e *Engine) doubts(a *arrival) bool {
	p, r := a.probe, &a.result
	if p.path == 0 || a.asked || p.gone || e.o.Stands == nil || r.Reason == Local || r.Reason == DNS {
		return false
	}
	return slices.ContainsFunc(p.judges, func(j *judge) bool { return j.gauge.verdict != verdictOf(r.Reason == OK) })
}

// askLimit is how long the answer may take. None is as good as a bad one.
const askLimit = 10 * time.Second

// ask asks for the path, beside the loop. Where it may not have stood, the probe
// says nothing about the server.
func (e *Engine) ask(ctx context.Context, a arrival) {
	a.asked = true
	e.beside.Go(func() {
		limited, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		err := e.o.Stands(limited, a.probe.path, a.result.At)
		if ctx.Err() != nil {
			return // the answer is our own stop's
		}
		if err != nil {
			a.result.Reason, a.result.Detail = Local, printable(err.Error(), detailLimit)
		}
		e.deliver(a)
	})
}
