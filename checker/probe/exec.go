package probe

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"lvsd/checker/outcome"
	"lvsd/checker/program"
)

const (
	// maxPrograms is how many programs run at once: hundreds of them would take
	// the processor from the daemon itself. The others wait; their deadline
	// starts with the program.
	maxPrograms = 32
	// maxOutput bounds the output of a program that is kept, in bytes.
	maxOutput = 1 << 10
)

// programSlots has one element per running program.
var programSlots = make(chan struct{}, maxPrograms)

// execProbe runs a program without a shell; exit code 0 is a success. All processes of
// its group end with it, or at the deadline.
type execProbe struct {
	command     []string
	environment []string
	credential  *syscall.Credential // nil: that of lvsd
}

func newExecProbe(c *Check) (Prober, error) {
	if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
		return nil, errors.New("no program, as an absolute path")
	}
	p := &execProbe{command: c.Command, environment: []string{
		"LVSD_SERVICE=" + c.Service,
		"LVSD_REAL_SERVER=" + c.Server,
		"LVSD_ADDRESS=" + c.Address.Addr().Unmap().String(),
		"LVSD_PORT=" + strconv.Itoa(int(c.Address.Port())),
	}}
	if c.User != "" {
		var err error
		if p.credential, err = program.UserCredential(c.User); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *execProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	due, timeout := time.Now(), time.Until(deadline)
	select {
	case programSlots <- struct{}{}:
	case <-ctx.Done():
		return outcome.Outcome{}
	}
	waited := time.Since(due)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A program that cannot be killed keeps its slot.
	out := programOutcome(p.command[0], program.Program{Command: p.command, Environment: p.environment, Credential: p.credential, Output: maxOutput}.
		Run(limit, func() { <-programSlots }))
	out.Waited = waited
	return out
}

// programOutcome maps how a program ended. A percentage alone on its first line is a
// report about the weight.
func programOutcome(name string, e program.Ending) outcome.Outcome {
	said := e.Output
	if e.Err != nil {
		return outcome.NewOutcome(outcome.Local, outcome.PhaseRun, outcome.Printable("failed to run "+name+": "+outcome.ErrorText(&outcome.LocalError{Err: e.Err}), outcome.MaxDetail))
	}
	if detail := e.String(); detail != "" {
		if said != "" {
			detail += ": " + said
		}
		reason := outcome.Exec
		if e.Killed {
			reason = outcome.Timeout
		}
		return outcome.NewOutcome(reason, outcome.PhaseRun, outcome.Printable(detail, outcome.MaxDetail))
	}
	out := outcome.NewOutcome(outcome.OK, outcome.PhaseRun, outcome.Printable(said, outcome.MaxDetail))
	weight := outcome.NoReport
	if percent, ok := outcome.ParseWeight(said); ok {
		weight.Weight = percent
	}
	out.Report = &weight
	return out
}

func (p *execProbe) ResumeReport(outcome.AgentReport) {} // each run reports everything
