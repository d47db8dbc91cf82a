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

// Election is one VRRP engine, as the director needs it.
type Election interface {
	Run(ctx context.Context) error
	Close() error
	Update(vrrp.Config)
	HandOver()
	SetTracked(name string, delta int, fault bool)
	Status() vrrp.Status
}

// electorate holds the running elections. The loop alone changes it; status
// readers come from other goroutines.
type electorate struct {
	open func(vrrp.Config) (Election, error)
	log  *slog.Logger

	mu      sync.Mutex
	running []*candidate    // in the order of the file
	holds   map[string]Hold // by election; replaced as a whole
	// waits is why an election does not preempt a live master yet; nil: nothing is
	// known. Replaced as a whole.
	waits map[string]string
	tasks sync.WaitGroup
}

// candidate is one election of this director.
type candidate struct {
	config  vrrp.Config
	runs    vrrp.Config // what the engine was told last: see at
	tracks  []config.TrackedService
	told    map[string]vrrp.Tracked // what the engine was told of them
	engine  Election
	cancel  context.CancelFunc // nil before it was started
	done    chan struct{}
	follows *candidate // the same election with another interface or VRID, which ends first
}

// at is the configuration with which an engine runs: as configured, but that a
// director that is not ready, or is held, does not preempt.
func (el *electorate) at(c *candidate) vrrp.Config {
	own := c.config
	own.Preempt = own.Preempt && el.waits != nil && el.waits[own.Name] == ""
	_, own.Standby = el.holds[own.Name]
	return own
}

// follow tells the engines what changed of their levels.
func (el *electorate) follow() {
	for _, c := range el.running {
		if want := el.at(c); !reflect.DeepEqual(c.runs, want) {
			c.runs = want
			c.engine.Update(want)
		}
	}
}

// letPreempt says which elections still wait for something, and for what.
func (el *electorate) letPreempt(waits map[string]string) {
	el.mu.Lock()
	el.waits = waits
	el.mu.Unlock()
	el.follow()
}

// setHolds says which elections this director stays away from.
func (el *electorate) setHolds(holds map[string]Hold) {
	el.mu.Lock()
	el.holds = holds
	el.mu.Unlock()
	el.follow()
}

// bend tells the engines what the services do to their elections.
func (el *electorate) bend(services []decision.Service) {
	for _, c := range el.running {
		want := decision.Tracked(c.tracks, services)
		for name := range c.told {
			if _, still := want[name]; !still {
				c.engine.SetTracked(name, 0, false)
			}
		}
		for name, t := range want {
			if c.told[name] != t {
				c.engine.SetTracked(name, t.Delta, t.Fault)
			}
		}
		c.told = want
	}
}

// master says that this director is master of an election.
func (el *electorate) master(name string) bool {
	for _, c := range el.running {
		if c.config.Name == name {
			return c.engine.Status().State == vrrp.Master
		}
	}
	return false
}

// anyFault says whether an interface of ours cannot be used.
func (el *electorate) anyFault() bool {
	for _, c := range el.running {
		if c.engine.Status().State == vrrp.Fault {
			return true
		}
	}
	return false
}

// end stops a candidate; one that never ran only closes its sockets.
func (c *candidate) end() {
	if c.cancel != nil {
		c.cancel()
		return
	}
	c.engine.Close()
	close(c.done)
}

// ElectionConfig is the engine's form of a configured election.
func ElectionConfig(e config.Instance) vrrp.Config {
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

// electionOf is the engine's form of an election of a configuration.
func electionOf(e config.Instance, c *config.Config) vrrp.Config {
	want := ElectionConfig(e)
	want.PreemptDelay = max(want.PreemptDelay, decision.TrackingDelay(e.TrackServices, c.Services))
	return want
}

var checksums = map[string]vrrp.Checksum{"rfc5798": vrrp.RFC5798, "rfc9568": vrrp.RFC9568}

// prepare opens the sockets of the elections that are new or must restart,
// and refuses when one cannot be had.
func (el *electorate) prepare(_, next *config.Config) (reload.Change, error) {
	byName := map[string]*candidate{}
	for _, c := range el.running {
		byName[c.config.Name] = c
	}
	var coming []*candidate
	var opened []*candidate
	abort := func() {
		for _, c := range opened {
			c.engine.Close()
		}
	}
	updates, tracks := map[*candidate]vrrp.Config{}, map[*candidate][]config.TrackedService{}
	var mistakes []error
	for _, e := range next.Instances {
		want := electionOf(e, next)
		runs := byName[want.Name]
		if runs != nil && !vrrp.NeedsRestart(runs.config, want) {
			updates[runs], tracks[runs] = want, e.TrackServices
			coming = append(coming, runs)
			continue
		}
		if runs == nil {
			runs = el.sameRouter(want)
		}
		c := &candidate{config: want, tracks: e.TrackServices, done: make(chan struct{}), follows: runs}
		c.runs = el.at(c)
		engine, err := el.open(c.runs)
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
			stays := map[*candidate]bool{}
			for _, c := range coming {
				stays[c] = true
				if want, ok := updates[c]; ok {
					el.mu.Lock()
					c.config, c.tracks = want, tracks[c]
					el.mu.Unlock()
					c.runs = el.at(c)
					c.engine.Update(c.runs)
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
func (el *electorate) sameRouter(want vrrp.Config) *candidate {
	for _, c := range el.running {
		if !vrrp.NeedsRestart(c.config, want) {
			return c
		}
	}
	return nil
}

// start runs the elections that do not run yet.
func (el *electorate) start(ctx context.Context) {
	for _, c := range el.running {
		if c.cancel != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		c.cancel = cancel
		before := c.follows
		c.follows = nil
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
func (el *electorate) close() {
	for _, c := range el.running {
		if c.cancel == nil {
			c.end()
		}
	}
}

// wait returns when every election has given its addresses up.
func (el *electorate) wait() { el.tasks.Wait() }

// seat is an election for whoever is not the loop.
type seat struct {
	*candidate
	held []netip.Prefix
}

// seats are the elections that run.
func (el *electorate) seats() []seat {
	el.mu.Lock()
	defer el.mu.Unlock()
	var all []seat
	for _, c := range el.running {
		all = append(all, seat{c, slices.Concat(c.config.Addresses, c.config.Excluded)})
	}
	return all
}

// status reads all elections, in the order of the file, the holds, and what
// elections wait for.
func (el *electorate) status() ([]vrrp.Status, map[string]Hold, map[string]string) {
	el.mu.Lock()
	running, holds, waits := el.running, el.holds, el.waits
	el.mu.Unlock()
	out := make([]vrrp.Status, 0, len(running))
	for _, c := range running {
		out = append(out, c.engine.Status())
	}
	return out, holds, waits
}
