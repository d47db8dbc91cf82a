package probe

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"lvsd/checker/outcome"
	"lvsd/checker/program"
)

// maxOutput bounds the output of a program that is kept, in bytes.
const maxOutput = 1 << 10

// programSlots bound the programs that run at once: hundreds of them would take the
// processor from the daemon itself. The others wait; their deadline starts with the
// program.
var programSlots = program.NewSlots(32)

// SetExecParallel sets how many programs of checks run at once, 1 at least.
func SetExecParallel(n int) { programSlots.Resize(n) }

// execProbe runs a program without a shell; exit code 0 is a success. All processes of
// its group end with it, or at the deadline.
type execProbe struct {
	command     []string
	environment []string
	credential  *syscall.Credential // nil: that of lvsd
	remains     atomic.Bool         // a program of it runs, or was killed and has not ended
}

func newExecProbe(c *Check) (Prober, error) {
	if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
		return nil, errors.New("not a program with an absolute path")
	}
	address, port := c.Address.Addr().Unmap().String(), strconv.Itoa(int(c.Address.Port()))
	p := &execProbe{command: slices.Clone(c.Command), environment: []string{
		"LVSD_SERVICE=" + c.Service,
		"LVSD_REAL_SERVER=" + c.Server,
		"LVSD_ADDRESS=" + address,
		"LVSD_PORT=" + port,
	}}
	placeholders := strings.NewReplacer("{address}", address, "{port}", port)
	for i, word := range p.command[1:] {
		p.command[i+1] = placeholders.Replace(word)
	}
	if c.User != "" {
		var err error
		if p.credential, err = program.UserCredential(c.User); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *execProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	if p.remains.Load() {
		return outcome.NewOutcome(outcome.Timeout, outcome.PhaseRun, "the program of an earlier probe was killed and has not ended (a disk or file system that does not respond?)")
	}
	due, timeout := time.Now(), time.Until(deadline)
	if programSlots.Acquire(ctx) != nil {
		return outcome.Outcome{}
	}
	// A program that cannot be killed waits in the kernel and takes no processor time: it
	// keeps its own check from starting another, not the programs of others.
	defer programSlots.Release()
	waited := time.Since(due)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.remains.Store(true)
	out := programOutcome(p.command[0], program.Program{Command: p.command, Environment: p.environment, Credential: p.credential, Output: maxOutput}.
		Run(limit, func() { p.remains.Store(false) }))
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

// fileProbe is up while a file exists, or while it does not.
type fileProbe struct {
	path   string
	absent bool // it is up while the file does not exist
	busy   atomic.Bool
}

func newFileProbe(c *Check) (Prober, error) {
	if !filepath.IsAbs(c.File) {
		return nil, errors.New("not a file with an absolute path")
	}
	return &fileProbe{path: c.File, absent: c.FileAbsent}, nil
}

func (p *fileProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if p.busy.Swap(true) {
		return outcome.NewOutcome(outcome.Local, outcome.PhaseRun, outcome.Printable(p.path+": the file system does not respond", outcome.MaxDetail))
	}
	done := make(chan error, 1)
	go func() { // stat(2) of a dead disk does not end
		_, err := os.Stat(p.path)
		p.busy.Store(false)
		done <- err
	}()
	select {
	case err := <-done:
		return p.outcome(err)
	case <-limited.Done():
		return outcome.NewOutcome(outcome.Local, outcome.PhaseRun, outcome.Printable(p.path+": the file system does not respond", outcome.MaxDetail))
	}
}

// outcome maps the error of stat(2).
func (p *fileProbe) outcome(err error) outcome.Outcome {
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return outcome.NewOutcome(outcome.Local, outcome.PhaseRun, outcome.Printable(p.path+": "+outcome.ErrorText(&outcome.LocalError{Err: err}), outcome.MaxDetail))
	}
	detail := p.path + " exists"
	if missing {
		detail = p.path + " does not exist"
	}
	reason := outcome.OK
	if missing != p.absent {
		reason = outcome.Off
	}
	return outcome.NewOutcome(reason, outcome.PhaseRun, outcome.Printable(detail, outcome.MaxDetail))
}
