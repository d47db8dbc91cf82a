package probe

import (
	"context"
	"lvsd/checker/outcome"
	"lvsd/checker/trace"
	"sync"
	"time"
)

// Trace is what one probe did and what came of it.
type Trace struct {
	outcome.Result
	Steps []trace.Line
}

// Try answers why a check cannot be made on this machine: of "exec", a user that
// there is not.
func Try(c Check) error {
	if !c.Probes() {
		return nil
	}
	if err := c.Validate(); err != nil {
		return err
	}
	_, err := NewProber(&c, NewShared())
	return err
}

// Once runs a check once. An error is a check that makes no sense; what is wrong
// with the server is in the result.
func Once(ctx context.Context, c Check) (Trace, error) {
	begun := time.Now()
	if !c.Probes() {
		reason := outcome.OK
		if c.Type == TypeOff {
			reason = outcome.Off
		}
		return Trace{Result: outcome.Result{At: begun, Reason: reason}}, nil
	}
	if err := c.Validate(); err != nil {
		return Trace{}, err
	}
	common := NewShared()
	p, err := NewProber(&c, common)
	if err != nil {
		return Trace{}, err
	}
	if c.HostName != "" {
		looking, cancel := context.WithCancel(ctx)
		var lookups sync.WaitGroup
		defer lookups.Wait()
		defer cancel()
		common.Resolver.SetHosts(map[string]struct{}{c.HostName: {}})
		lookups.Go(func() { common.Resolver.Run(looking) })
	}
	t := &trace.Tracer{Started: begun, Secrets: c.Secrets}
	out := p.Probe(context.WithValue(ctx, trace.ContextKey{}, t), begun.Add(c.Timeout))
	return Trace{Result: outcome.Result{At: begun, Reason: out.Reason, Phase: out.Phase, Detail: trace.Redact(out.Detail, c.Secrets), Took: time.Since(begun)}, Steps: t.Lines()}, nil
}
