package director

import (
	"context"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// PathFault returns why the path of a mark may have been broken at any time since t; nil
// if it was intact. It reads the kernel, which repairs the path.
func (d *Director) PathFault(ctx context.Context, mark uint32, since time.Time) error {
	return d.deps.MarkWrites.Fault(ctx, mark, since, d.deps.Table.SnapshotAfter)
}

// MarkProbe is the result of one check through a mark.
type MarkProbe struct {
	Check probe.Check
	probe.Trace
}

// RunMarkProbes runs the checks of a real server that use a mark, once. Their results do
// not change its health.
func (d *Director) RunMarkProbes(ctx context.Context, id checker.ID) (done []MarkProbe, err error) {
	var checks []probe.Check
	err = d.inLoop(ctx, func() error {
		c := d.config.Load()
		for _, svc := range c.Services {
			if svc.Name != id.Service {
				continue
			}
			all, _ := d.targets.service(svc, d.deps.Table.Snapshot().Table)
			for _, t := range all {
				if t.ID == id {
					checks = t.Checks
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, check := range checks {
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
