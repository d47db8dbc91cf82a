package director

// Whether a probe that goes through the kernel's forwarding went there. When
// somebody has removed its path, the probe goes to whoever has the service's
// address, this director itself perhaps, and finds what it finds: that is this
// machine's trouble and no server's.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/ipvs"
)

// Paths is a kernel that remembers when the services of firewall marks were
// written last.
type Paths struct {
	ipvs.Kernel

	mu      sync.Mutex
	written map[uint32]time.Time
}

// Apply writes.
func (p *Paths) Apply(op ipvs.Op) error {
	err := p.Kernel.Apply(op)
	if mark := op.Service.Key.Mark; mark != 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.written == nil {
			p.written = map[uint32]time.Time{}
		}
		p.written[mark] = time.Now()
	}
	return err
}

// since says whether a service was written since then.
func (p *Paths) since(mark uint32, t time.Time) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.written[mark].Before(t)
}

// PathFault answers why a path of probes may not have been there all the time since
// then; nil: it was. It reads the kernel, which repairs the path.
func (d *Director) PathFault(ctx context.Context, mark uint32, since time.Time) error {
	now, err := d.deps.Table.SnapshotAfter(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("whether the probe went through to the server is not known: %w", err)
	}
	stands := false
	for key, svc := range now.Table {
		stands = stands || key.Mark == mark && len(svc.Destinations) > 0
	}
	switch {
	case !stands:
		return errors.New("the kernel has no path to the server: somebody removed the service of the probe's mark")
	case d.deps.MarkWrites.since(mark, since):
		return errors.New("the kernel had no path to the server: the service of the probe's mark was written again meanwhile")
	}
	return nil
}

// MarkProbe is a check that went through, once.
type MarkProbe struct {
	Check probe.Check
	probe.Trace
}

// RunMarkProbes runs those checks of a real server once that go through the
// kernel's forwarding. The engine hears nothing of it.
func (d *Director) RunMarkProbes(ctx context.Context, id checker.ID) (done []MarkProbe, err error) {
	var led []probe.Check
	err = d.inLoop(ctx, func() error {
		c := d.config.Load()
		for _, svc := range c.Services {
			if svc.Name != id.Service {
				continue
			}
			targets, _ := d.checks.serviceTargets(svc, d.deps.Table.Snapshot().Table)
			for _, t := range targets {
				if t.ID == id {
					led = t.Checks
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, check := range led {
		if !check.MarkPath {
			continue
		}
		t, err := probe.Once(ctx, check)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if err := d.PathFault(ctx, check.Mark, t.At); err != nil {
			t.Reason, t.Detail = outcome.Local, err.Error()
		}
		done = append(done, MarkProbe{check, t})
	}
	return done, nil
}
