package director

// Elections starts, updates and ends one engine for each configured election.
// An election runs in its own goroutine and waits for nothing here.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/vrrp"
)

// Engine is one VRRP engine, as the director needs it.
type Engine interface {
	Run(ctx context.Context) error
	Close() error
	Update(vrrp.Config)
	HandOver()
	SetTracked(name string, delta int, fault bool)
	Status() vrrp.Status
}

// Set holds the running elections. The loop alone changes it; status
// readers come from other goroutines.
type Set struct {
	open func(vrrp.Config) (Engine, error)
	log  *slog.Logger

	mu      sync.Mutex
	running []*slot            // in the order of the file
	standby map[string]Standby // by election; replaced as a whole
	// waits is why an election does not preempt a live master yet; nil: nothing is
	// known. Replaced as a whole.
	waits map[string]string
	tasks sync.WaitGroup
}

// slot is one election of this director.
type slot struct {
	config    vrrp.Config
	applied   vrrp.Config // what the engine was told last: see at
	tracks    []config.TrackedService
	tracked   map[string]vrrp.Tracked // what the engine was told of them
	engine    Engine
	cancel    context.CancelFunc // nil before it was started
	done      chan struct{}
	nextStart *slot // the same election with another interface or VRID, which ends first
}

// effective is the configuration with which an engine runs: as configured, but that a
// director that is not ready, or is held, does not preempt.
func (el *Set) effective(c *slot) vrrp.Config {
	own := c.config
	own.Preempt = own.Preempt && el.waits != nil && el.waits[own.Name] == ""
	_, own.Standby = el.standby[own.Name]
	return own
}

// apply tells the engines what changed of their levels.
func (el *Set) apply() {
	for _, c := range el.running {
		if want := el.effective(c); !reflect.DeepEqual(c.applied, want) {
			c.applied = want
			c.engine.Update(want)
		}
	}
}

// setWaits says which elections still wait for something, and for what.
func (el *Set) setWaits(waits map[string]string) {
	el.mu.Lock()
	el.waits = waits
	el.mu.Unlock()
	el.apply()
}

// setStandby says which elections this director stays away from.
func (el *Set) setStandby(holds map[string]Standby) {
	el.mu.Lock()
	el.standby = holds
	el.mu.Unlock()
	el.apply()
}

// applyTracking tells the engines what the services do to their elections.
func (el *Set) applyTracking(services []decision.Service) {
	for _, c := range el.running {
		want := decision.Tracked(c.tracks, services)
		for name := range c.tracked {
			if _, still := want[name]; !still {
				c.engine.SetTracked(name, 0, false)
			}
		}
		for name, t := range want {
			if c.tracked[name] != t {
				c.engine.SetTracked(name, t.Delta, t.Fault)
			}
		}
		c.tracked = want
	}
}

// isMaster says that this director is master of an election.
func (el *Set) isMaster(name string) bool {
	for _, c := range el.running {
		if c.config.Name == name {
			return c.engine.Status().State == vrrp.Master
		}
	}
	return false
}

// anyFault says whether an interface of ours cannot be used.
func (el *Set) anyFault() bool {
	for _, c := range el.running {
		if c.engine.Status().State == vrrp.Fault {
			return true
		}
	}
	return false
}

// end stops a candidate; one that never ran only closes its sockets.
func (c *slot) end() {
	if c.cancel != nil {
		c.cancel()
		return
	}
	c.engine.Close()
	close(c.done)
}

// EngineConfig is the engine's form of a configured election.
func EngineConfig(e config.Instance) vrrp.Config {
	c := vrrp.Config{
		Name:           e.Name,
		Interface:      e.Interface,
		VRID:           e.VRID,
		Priority:       e.Priority,
		AdvertInterval: e.AdvertInterval,
		Preempt:        e.Preempt,
		PreemptDelay:   e.PreemptDelay,
		Addresses:      e.Addresses,
		Excluded:       e.ExcludedAddresses,
		VirtualMAC:     e.VirtualMAC,
		AnyIPv6:        e.AnyIPv6,
		Checksum:       checksums[e.Checksum],
		Version:        e.Version,
		Unicast:        e.Unicast,
		Source:         e.Source,
		Authentication: vrrp.Authentication(e.Authentication),
		HandoverLimit:  e.HandoverLimit,
		SyncGroup:      e.SyncGroup,
	}
	for _, i := range e.TrackInterfaces {
		c.TrackInterfaces = append(c.TrackInterfaces, vrrp.TrackedInterface(i))
	}
	for _, r := range e.Routes {
		c.Routes = append(c.Routes, vrrp.Route(r))
	}
	for _, r := range e.Rules {
		c.Rules = append(c.Rules, vrrp.Rule(r))
	}
	for _, s := range e.TrackScripts {
		c.TrackScripts = append(c.TrackScripts, vrrp.TrackedScript(s))
	}
	for _, f := range e.TrackFiles {
		c.TrackFiles = append(c.TrackFiles, vrrp.TrackedFile(f))
	}
	return c
}

// engineConfig is the engine's form of an election of a configuration.
func engineConfig(e config.Instance, c *config.Config) vrrp.Config {
	want := EngineConfig(e)
	want.PreemptDelay = max(want.PreemptDelay, decision.TrackingDelay(e.TrackServices, c.Services))
	return want
}

var checksums = map[string]vrrp.Checksum{"rfc5798": vrrp.RFC5798, "rfc9568": vrrp.RFC9568}

// prepare opens the sockets of the elections that are new or must restart,
// and refuses when one cannot be had.
func (el *Set) prepare(_, next *config.Config) (reload.Change, error) {
	byName := map[string]*slot{}
	for _, c := range el.running {
		byName[c.config.Name] = c
	}
	var coming []*slot
	var opened []*slot
	abort := func() {
		for _, c := range opened {
			c.engine.Close()
		}
	}
	updates, tracks := map[*slot]vrrp.Config{}, map[*slot][]config.TrackedService{}
	var mistakes []error
	for _, e := range next.Instances {
		want := engineConfig(e, next)
		runs := byName[want.Name]
		if runs != nil && !vrrp.NeedsRestart(runs.config, want) {
			updates[runs], tracks[runs] = want, e.TrackServices
			coming = append(coming, runs)
			continue
		}
		if runs == nil {
			runs = el.sameRouter(want)
		}
		c := &slot{config: want, tracks: e.TrackServices, done: make(chan struct{}), nextStart: runs}
		c.applied = el.effective(c)
		engine, err := el.open(c.applied)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d:%d: %w", next.File, e.Line, e.Col, err))
			continue
		}
		c.engine = engine
		opened = append(opened, c)
		coming = append(coming, c)
	}
	if mistakes != nil {
		abort()
		return reload.Change{}, errors.Join(mistakes...)
	}
	return reload.Change{
		Abort: abort,
		Commit: func() {
			stays := map[*slot]bool{}
			for _, c := range coming {
				stays[c] = true
				if want, ok := updates[c]; ok {
					el.mu.Lock()
					c.config, c.tracks = want, tracks[c]
					el.mu.Unlock()
					c.applied = el.effective(c)
					c.engine.Update(c.applied)
				}
			}
			for _, c := range el.running {
				if !stays[c] {
					c.end()
				}
			}
			el.mu.Lock()
			el.running = coming
			el.mu.Unlock()
		},
	}, nil
}

// sameRouter finds a running election under another name: it must give its
// addresses up before its successor looks.
func (el *Set) sameRouter(want vrrp.Config) *slot {
	for _, c := range el.running {
		if !vrrp.NeedsRestart(c.config, want) {
			return c
		}
	}
	return nil
}

// start runs the elections that do not run yet.
func (el *Set) start(ctx context.Context) {
	for _, c := range el.running {
		if c.cancel != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		c.cancel = cancel
		before := c.nextStart
		c.nextStart = nil
		el.tasks.Go(func() {
			defer close(c.done)
			defer cancel()
			if before != nil {
				<-before.done // it gives its addresses up before this one looks
			}
			if err := c.engine.Run(own); err != nil {
				el.log.Error("an election ended by itself, its addresses are given up", "vrrp", c.config.Name, "reason", err)
			}
		})
	}
}

// close ends the elections that were opened and never started.
func (el *Set) close() {
	for _, c := range el.running {
		if c.cancel == nil {
			c.end()
		}
	}
}

// wait returns when every election has given its addresses up.
func (el *Set) wait() { el.tasks.Wait() }

// Snapshot is an election for whoever is not the loop.
type Snapshot struct {
	*slot
	VIPs []netip.Prefix
}

// snapshots are the elections that run.
func (el *Set) snapshots() []Snapshot {
	el.mu.Lock()
	defer el.mu.Unlock()
	var all []Snapshot
	for _, c := range el.running {
		all = append(all, Snapshot{c, slices.Concat(c.config.Addresses, c.config.Excluded)})
	}
	return all
}

// status reads all elections, in the order of the file, the holds, and what
// elections wait for.
func (el *Set) status() ([]vrrp.Status, map[string]Standby, map[string]string) {
	el.mu.Lock()
	running, holds, waits := el.running, el.standby, el.waits
	el.mu.Unlock()
	out := make([]vrrp.Status, 0, len(running))
	for _, c := range running {
		out = append(out, c.engine.Status())
	}
	return out, holds, waits
}
