package instances

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/vrrp"
	"lvsd/vrrp/auth"
)

// Engine is one VRRP engine.
type Engine interface {
	Run(ctx context.Context) error
	Close() error
	Update(vrrp.Config)
	HandOver()
	SetTracked(name string, delta int, fault bool)
	Status() vrrp.Status
}

// Set is the VRRP instances of this director. One goroutine changes it; the methods
// States and Levels may be called from any.
type Set struct {
	open func(vrrp.Config) (Engine, error)
	log  *slog.Logger

	mu      sync.Mutex
	running []*Instance                // in the order of the file
	standby map[string]persist.Standby // by instance; replaced as a whole
	// waits is why an instance does not preempt a live master yet; nil: not decided
	// yet. Replaced as a whole.
	waits map[string]string
	tasks sync.WaitGroup
}

// New makes an empty Set. Open opens the sockets of an instance.
func New(open func(vrrp.Config) (Engine, error), log *slog.Logger) *Set {
	return &Set{open: open, log: log}
}

// Instance is one VRRP instance of this director.
type Instance struct {
	config  vrrp.Config
	applied vrrp.Config // what the engine was given last: see effective
	tracks  []config.TrackedService
	tracked map[string]vrrp.Tracked // what the engine was given of them
	engine  Engine
	cancel  context.CancelFunc // nil before it was started
	done    chan struct{}
	// startAfter is the same instance on another interface or with another VRID,
	// which ends first.
	startAfter *Instance
}

// Name is the instance's name in the file.
func (i *Instance) Name() string { return i.config.Name }

// Config is the instance as configured. The loop alone may call it.
func (i *Instance) Config() vrrp.Config { return i.config }

// Status is the newest status of the engine.
func (i *Instance) Status() vrrp.Status { return i.engine.Status() }

// Resign makes a master hand over; see [vrrp.Engine.HandOver].
func (i *Instance) Resign() { i.engine.HandOver() }

// effective is the configuration that an engine runs with: as configured, except
// that a director that is not ready, or on standby, does not preempt.
func (s *Set) effective(i *Instance) vrrp.Config {
	c := i.config
	c.Preempt = c.Preempt && s.waits != nil && s.waits[c.Name] == ""
	_, c.Standby = s.standby[c.Name]
	return c
}

// apply updates the engines whose effective configuration changed.
func (s *Set) apply() {
	for _, i := range s.running {
		if want := s.effective(i); !reflect.DeepEqual(i.applied, want) {
			i.applied = want
			i.engine.Update(want)
		}
	}
}

// SetWaits sets what each instance still waits for before it preempts a live
// master; "" when it is ready.
func (s *Set) SetWaits(waits map[string]string) {
	s.mu.Lock()
	s.waits = waits
	s.mu.Unlock()
	s.apply()
}

// SetStandby sets the instances that are on standby.
func (s *Set) SetStandby(standby map[string]persist.Standby) {
	s.mu.Lock()
	s.standby = standby
	s.mu.Unlock()
	s.apply()
}

// Standby is the instances on standby, by name. It must not be changed.
func (s *Set) Standby() map[string]persist.Standby { return s.standby }

// NextStandbyEnd is when the next standby ends by itself; zero: never.
func (s *Set) NextStandbyEnd() time.Time {
	var end time.Time
	for _, standby := range s.standby {
		end = decision.Earliest(end, standby.Until)
	}
	return end
}

// ApplyTracking adjusts the priorities of the instances that track services.
func (s *Set) ApplyTracking(services []decision.Service) {
	for _, i := range s.running {
		want := decision.Tracked(i.tracks, services)
		for name := range i.tracked {
			if _, still := want[name]; !still {
				i.engine.SetTracked(name, 0, false)
			}
		}
		for name, t := range want {
			if i.tracked[name] != t {
				i.engine.SetTracked(name, t.Delta, t.Fault)
			}
		}
		i.tracked = want
	}
}

// IsMaster reports whether this director is master of an instance.
func (s *Set) IsMaster(name string) bool {
	for _, i := range s.running {
		if i.config.Name == name {
			return i.engine.Status().State == vrrp.Master
		}
	}
	return false
}

// InFault returns the names of the instances that are in fault.
func (s *Set) InFault() map[string]bool {
	names := map[string]bool{}
	for _, i := range s.running {
		if i.engine.Status().State == vrrp.Fault {
			names[i.config.Name] = true
		}
	}
	return names
}

// Named returns the instances of a name, with all of their sync group; "" is all.
func (s *Set) Named(name string) ([]*Instance, error) {
	if name == "" {
		if len(s.running) == 0 {
			return nil, errors.New("the configuration has no [[vrrp]]")
		}
		return s.running, nil
	}
	var names []string
	for _, i := range s.running {
		if i.config.Name != name {
			names = append(names, i.config.Name)
			continue
		}
		group := i.config.SyncGroup
		return slices.DeleteFunc(slices.Clone(s.running), func(o *Instance) bool {
			return o != i && (group == "" || o.config.SyncGroup != group)
		}), nil
	}
	return nil, fmt.Errorf("there is no VRRP instance %q; there are: %s", name, strings.Join(names, ", "))
}

// Read reads the key files. The participant opens the sockets of the instances that are
// new or must restart, and refuses the configuration when one cannot be opened. At a
// start an instance whose interface cannot be used yet begins in fault, and the others
// run. A reload refuses it: it may be a mistake in the file, and nothing was lost yet.
func (s *Set) Read(next *config.Config) reload.Participant {
	keys, errs := map[string]string{}, map[string]error{}
	for _, c := range next.Instances {
		if file := c.Authentication.KeyFile; file != "" {
			text, err := disk.Within(file, func() ([]byte, error) { return auth.ReadFile(file) })
			keys[file], errs[file] = string(text), err
		}
	}
	return func(old, next *config.Config) (reload.Change, error) { return s.prepare(old == nil, next, keys, errs) }
}

// prepare is the participant, with the content of the key files and why one could not be
// read.
func (s *Set) prepare(start bool, next *config.Config, keys map[string]string, unread map[string]error) (reload.Change, error) {
	byName := s.byName()
	var all, opened []*Instance
	abort := func() {
		for _, i := range opened {
			i.engine.Close()
		}
	}
	updates, tracks := map[*Instance]vrrp.Config{}, map[*Instance][]config.TrackedService{}
	var errs []error
	for _, c := range next.Instances {
		want := EngineConfig(c, next)
		if err := unread[want.Authentication.KeyFile]; err != nil {
			errs = append(errs, fmt.Errorf("%s:%d:%d: failed to start VRRP instance %s: %w", next.File, c.Line, c.Col, c.Name, err))
			continue
		}
		want.Authentication.Key = keys[want.Authentication.KeyFile]
		before := byName[want.Name]
		if before != nil && !vrrp.NeedsRestart(before.config, want) {
			updates[before], tracks[before] = want, c.TrackServices
			all = append(all, before)
			continue
		}
		if before == nil {
			before = s.sameRouter(want)
		}
		i := &Instance{config: want, tracks: c.TrackServices, done: make(chan struct{}), startAfter: before}
		i.applied = s.effective(i)
		wanted := i.applied
		wanted.AwaitInterface = start
		engine, err := s.open(wanted)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d:%d: %w", next.File, c.Line, c.Col, err))
			continue
		}
		i.engine = engine
		opened = append(opened, i)
		all = append(all, i)
	}
	if errs != nil {
		abort()
		return reload.Change{}, errors.Join(errs...)
	}
	return reload.Change{Abort: abort, Commit: func() {
		stays := map[*Instance]bool{}
		for _, i := range all {
			stays[i] = true
			if want, ok := updates[i]; ok {
				s.mu.Lock()
				i.config, i.tracks = want, tracks[i]
				s.mu.Unlock()
				i.applied = s.effective(i)
				i.engine.Update(i.applied)
			}
		}
		for _, i := range s.running {
			if !stays[i] {
				i.end()
			}
		}
		s.mu.Lock()
		s.running = all
		s.mu.Unlock()
	}}, nil
}

func (s *Set) byName() map[string]*Instance {
	all := make(map[string]*Instance, len(s.running))
	for _, i := range s.running {
		all[i.config.Name] = i
	}
	return all
}

// sameRouter finds a running instance of the same virtual router under another
// name: it must give its addresses up before its successor starts.
func (s *Set) sameRouter(want vrrp.Config) *Instance {
	for _, i := range s.running {
		if !vrrp.NeedsRestart(i.config, want) {
			return i
		}
	}
	return nil
}

// Start runs the instances that are not running yet, until the context ends.
func (s *Set) Start(ctx context.Context) {
	for _, i := range s.running {
		if i.cancel != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		i.cancel = cancel
		before := i.startAfter
		i.startAfter = nil
		s.tasks.Go(func() {
			defer close(i.done)
			defer cancel()
			if before != nil {
				<-before.done
			}
			if err := i.engine.Run(own); err != nil {
				s.log.Error("a VRRP instance failed; its addresses are released", "vrrp", i.config.Name, "reason", err)
			}
		})
	}
}

// end stops an instance; one that was never started only closes its sockets.
func (i *Instance) end() {
	if i.cancel != nil {
		i.cancel()
		return
	}
	i.engine.Close()
	close(i.done)
}

// Close ends the instances that were opened and never started.
func (s *Set) Close() {
	for _, i := range s.running {
		if i.cancel == nil {
			i.end()
		}
	}
}

// Wait returns when every instance has given its addresses up.
func (s *Set) Wait() { s.tasks.Wait() }

// State is an instance at one moment.
type State struct {
	Name   string
	Status vrrp.Status
	VIPs   []netip.Prefix
}

// States returns the instances, in the order of the file.
func (s *Set) States() []State {
	s.mu.Lock()
	all := make([]State, len(s.running))
	engines := make([]Engine, len(s.running))
	for n, i := range s.running {
		all[n] = State{Name: i.config.Name, VIPs: slices.Concat(i.config.Addresses, i.config.Excluded)}
		engines[n] = i.engine
	}
	s.mu.Unlock()
	for n, e := range engines {
		all[n].Status = e.Status()
	}
	return all
}

// Levels returns the instances on standby, and what each instance waits for.
func (s *Set) Levels() (standby map[string]persist.Standby, waits map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standby, s.waits
}
