package director

import (
	"maps"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/config"
)

// shareInterval is how often a director that shares probes decides again: a probe that changes
// no health sends no wake-up.
const shareInterval = 5 * time.Second

// share leaves the probes of real servers to the directors that make them instead.
func (d *Director) share(c *config.Config, health map[checker.ID]checker.Health) {
	next := decision.Delegated(c, health, d.trusted, d.peers())
	if maps.Equal(d.delegated, next) {
		return
	}
	d.delegated = next
	d.deps.Checker.Delegate(next, decision.RareProbes(len(c.Directors)))
}
