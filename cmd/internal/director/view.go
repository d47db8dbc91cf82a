package director

import (
	"context"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// View is everything there is to show, each part as it was at one moment.
type View struct {
	At         time.Time
	Config     *config.Config
	LastReload Reload
	Decision   decision.Decision // empty until the kernel was read
	Health     map[checker.ID]checker.Health
	Kernel     ipvs.Snapshot
	Instances  []vrrp.Status
	// Standby are the elections that this director stays away from, by name.
	Standby map[string]Standby
	// Waits is what this director waits for before it preempts a live master;
	// "" when it is ready.
	Waits string
	// InstanceWaits is the same of each election.
	InstanceWaits map[string]string
}

// Explain answers a real server's health with the history of its checks.
func (d *Director) Explain(id checker.ID) (checker.Health, bool) { return d.deps.Checker.Explain(id) }

// View reads the levels. It never waits for the loop; the kernel's counters are
// at most a second old unless the context ends before they are read.
func (d *Director) View(ctx context.Context) View {
	if d.deps.RefreshInstances != nil {
		d.deps.RefreshInstances(ctx)
	}
	return d.view(d.deps.Table.Refresh(ctx))
}

// Snapshot reads the levels with the kernel's counters as they were last read. It
// waits for nothing.
func (d *Director) Snapshot() View { return d.view(d.deps.Table.Snapshot()) }

func (d *Director) view(kernel ipvs.Snapshot) View {
	v := View{
		At:         time.Now(),
		Config:     d.config.Load(),
		LastReload: d.LastReload(),
		Health:     d.deps.Checker.Health(),
		Kernel:     kernel,
		Waits:      d.waiting(),
	}
	v.Instances, v.Standby, v.InstanceWaits = d.instances.status()
	// Read last: what was decided last, and the configuration that it is for.
	if p := d.decision.Load(); p != nil {
		v.Decision, v.Config = *p, p.Config
	}
	return v
}
