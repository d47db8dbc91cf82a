package director

import (
	"context"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/persist"
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
	// Standby are the instances on standby after a handover, by name.
	Standby map[string]persist.Standby
	// Announcements are the decisions on [[announce]], in the order of the file; nil until
	// the first. Routes are the kernel's.
	Announcements []decision.Announcement
	Routes        announce.Snapshot
	Withdrawals   map[Withdrawal]uint64
	// Announcing are the other directors that announce, by announcement.
	Announcing map[string][]string
	// WaitReason is what this director waits for before it preempts a live master;
	// "" when it is ready.
	WaitReason string
	// InstanceWaitReasons is the same of each instance, by name.
	InstanceWaitReasons map[string]string
}

// Explain returns a real server's health with the history of its checks.
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
		WaitReason: d.waiting(),
	}
	states := d.instances.States()
	v.Instances = make([]vrrp.Status, len(states))
	for i, s := range states {
		v.Instances[i] = s.Status
	}
	v.Standby, v.InstanceWaitReasons = d.instances.Levels()
	if d.deps.Routes != nil {
		v.Routes, v.Withdrawals, v.Announcing = d.deps.Routes.Snapshot(), d.withdrawals(), d.announcing()
	}
	// Read last: the newest decision, with the configuration that it is for.
	if p := d.decision.Load(); p != nil {
		v.Decision, v.Config = *p, p.Config
	}
	if all := d.Announcements(); len(all) == len(v.Config.Announces) {
		v.Announcements = all // else they are of the configuration before
	}
	return v
}
