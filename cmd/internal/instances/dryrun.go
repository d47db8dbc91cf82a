package instances

import (
	"lvsd/config"
	"lvsd/vrrp"
)

// Change is what a reload would do with one instance.
type Change struct {
	Name     string
	Old, New *vrrp.Config // nil: there is none
	// Restarts: it ends and starts again; otherwise the differences are applied to
	// the running one.
	Restarts bool
	// Replaces is the name of the running instance that it replaces on the same virtual
	// router; "" when there is none.
	Replaces string
	// Status is that of the running one; zero without one.
	Status vrrp.Status
}

// DryRun returns what Prepare and its commit would do.
func (s *Set) DryRun(next *config.Config) []Change {
	byName := s.byName()
	var all []Change
	stays := map[string]bool{}
	for _, c := range next.Instances {
		want := EngineConfig(c, next)
		stays[want.Name] = true
		change := Change{Name: want.Name, New: &want}
		if i := byName[want.Name]; i != nil {
			old := i.config
			change.Old, change.Status = &old, i.engine.Status()
			change.Restarts = vrrp.NeedsRestart(i.config, want)
		} else if i := s.sameRouter(want); i != nil {
			change.Replaces = i.config.Name
		}
		all = append(all, change)
	}
	for _, i := range s.running {
		if !stays[i.config.Name] {
			old := i.config
			all = append(all, Change{Name: old.Name, Old: &old, Status: i.engine.Status()})
		}
	}
	return all
}
