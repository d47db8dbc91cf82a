// The event loop of one VRRP instance: it feeds the machine with inputs, sets its
// timer and performs its actions. The loop never waits for the kernel: netlink
// and sysctl are done by the interface worker (ifworker.go).

package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/link"
	"lvsd/vrrp/timer"
	"lvsd/vrrp/wire"
)

// Options are the callbacks of an instance; each may be nil. They and the logger's
// handler run in the event loop and must not block: their duration delays adverts.
type Options struct {
	Log               *slog.Logger
	Wake              func()                  // the status changed; read Status again
	OnEvent           func(Event)             // a state change
	OnMasterConflict  func(MasterConflict)    // a master conflict begins or ends
	OnAddressConflict func(AddressConflict)   // another holder of an address appears or goes
	OnRestored        func(Restored)          // addresses that another program removed were put back
	ObserveLag        func(lag time.Duration) // how late a timer was handled
	Groups            *Groups                 // where sync groups are looked up; nil: those of the process
	// RunProgram runs a tracked script and returns an error unless it succeeded.
	// When ctx ends, the script and its children are killed. It runs in
	// goroutines of its own. nil: every script fails.
	RunProgram func(ctx context.Context, command []string) error
}

// conn sends and receives messages; wire.Conn or a fake.
type conn interface {
	Receive(buf []byte, wait bool) (wire.Packet, error)
	Send(to netip.Addr, message []byte) error
	Close() error
}

// port manages the interface; link.Port or a fake.
type port interface {
	State(ours []netip.Prefix, source netip.Addr, owner bool) (link.State, error)
	SetAddresses(ours, want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error)
	SetRoutes(a link.ExtraRoutes, present bool) (restored []string, err error)
	Announce(addrs []netip.Addr) (frames int, err error)
	Guard(addrs []netip.Addr, found func(link.Sighting)) error
	Probe(addrs []netip.Addr, source netip.Addr) error
	SetInterfaces(on map[netip.Addr]string)
	Watch(ctx context.Context, changed func())
	Close() error
}

// dialer opens a conn on an interface.
type dialer func(name string, index int, source netip.Addr) (conn, error)

// releaseTimeout bounds the wait for the removal of the addresses at shutdown,
// which usually takes less than a millisecond.
const releaseTimeout = 3 * time.Second

// Engine runs one VRRP instance on one interface.
type Engine struct {
	name, iface  string
	vrid         uint8
	openedConfig Config // as given to Open
	o            Options
	log          *slog.Logger
	worker       *ifworker
	machine      *machine // owned by the event loop once it runs
	tracking     *tracking
	group        *groupMember // nil: no sync group

	newTimer func() timer.Timer

	conn         conn // owned by the event loop; nil: no socket
	source       netip.Addr
	message      []byte
	advertAddrs  []netip.Addr // addresses in the adverts
	destinations []netip.Addr // where adverts are sent

	tracked    atomic.Pointer[[]Tracked]
	configured atomic.Pointer[[]netip.Prefix] // all addresses of a master

	keys  atomic.Pointer[auth.Keyring] // nil: adverts are not signed
	stamp auth.Stamp                   // of the last signature; owned by the event loop
	peers peerTable

	rules atomic.Pointer[Rules] // rules for received adverts, without Own

	adverts   chan rxAdvert
	dropped   chan rxDrop
	ifReports chan ifReport
	sightings chan link.Sighting

	mu              sync.Mutex
	pending         *update // not yet applied by the event loop
	handoverPending bool    // HandOver was called and is not yet handled
	wake            chan struct{}

	status           atomic.Pointer[published]
	counters         counters
	receivers        sync.WaitGroup
	done             chan struct{} // closed when the event loop no longer receives adverts
	limiter          rateLimiter
	warnedAt         time.Time // when a warning was last logged; owned by the event loop
	warningLogged    string    // the last warning logged; empty: it has ended
	conflictReported bool      // last state given to OnMasterConflict
	holdersReported  []Holder  // last given to OnAddressConflict
}

// published is the part of the status that changes rarely. It is immutable.
type published struct {
	snapshot
	transitions map[Transition]uint64
}

// counters change with every packet and may be read at any time.
type counters struct {
	sent, received, announced, restored, mismatched, unauthenticated atomic.Uint64

	lastAdvert atomic.Int64 // Unix time in ns; 0: never
	interval   atomic.Int64 // our advert interval, in ns
	dropped    [dropReasons]atomic.Uint64
	checksums  [checksums]atomic.Uint64
}

// Open checks the interface and opens the sockets. It changes nothing, and after
// an error nothing is left open. The error names the remedy. With
// [Config.AwaitInterface] an interface that cannot be used yet is no error.
func Open(cfg Config, o Options) (*Engine, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("failed to open VRRP instance %s: %w", cfg.Name, err)
	}
	secret, err := cfg.Authentication.read()
	if err != nil {
		return nil, fmt.Errorf("failed to open VRRP instance %s: %w", cfg.Name, err)
	}
	family := link.IPv4
	if cfg.v6() {
		family = link.IPv6
	}
	p, err := link.OpenPorts(cfg.Interface, family, link.Router{VRID: cfg.VRID, MAC: cfg.VirtualMAC}, cfg.Interfaces)
	if err != nil {
		return nil, fmt.Errorf("failed to open VRRP instance %s: %w", cfg.Name, err)
	}
	var mac net.HardwareAddr
	if cfg.VirtualMAC {
		mac = link.VirtualMAC(family, cfg.VRID)
	}
	e := newEngine(cfg, secret, o, p, func(name string, index int, source netip.Addr) (conn, error) {
		c, err := wire.Open(wire.Config{Interface: name, Index: index, Source: source, VRID: cfg.VRID, Unicast: len(cfg.Unicast) > 0, MAC: mac})
		if err != nil {
			return nil, err // not c: a nil *wire.Conn in a conn is not nil
		}
		return c, nil
	})
	e.newTimer = timer.New
	if err := e.worker.prepare(); err != nil && (!cfg.AwaitInterface || errors.Is(err, os.ErrPermission)) {
		_ = e.worker.close()
		return nil, fmt.Errorf("failed to open VRRP instance %s: %w", cfg.Name, err)
	}
	return e, nil
}

func newEngine(cfg Config, secret auth.Secret, o Options, p port, dial dialer) *Engine {
	cfg = cfg.clone()
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		name: cfg.Name, iface: cfg.Interface, vrid: cfg.VRID, openedConfig: cfg,
		o:         o,
		done:      make(chan struct{}),
		newTimer:  timer.NewRuntime,
		machine:   newMachine(cfg, time.Now()),
		adverts:   make(chan rxAdvert, 64),
		dropped:   make(chan rxDrop, 1),
		ifReports: make(chan ifReport),
		sightings: make(chan link.Sighting, 16),
		wake:      make(chan struct{}, 1),
	}
	e.stamp.Run = uint64(time.Now().UnixMicro())
	e.log = log.With("vrrp", cfg.Name)
	e.tracking = newTracking(e.log, o.RunProgram)
	e.worker = newIfworker(cfg, p, dial, e.log, &e.counters)
	e.worker.found = func(s link.Sighting) {
		select {
		case e.sightings <- s:
		default: // enough of them are waiting
		}
	}
	e.applyConfig(update{cfg, secret})
	e.tracked.Store(new([]Tracked))
	e.status.Store(&published{snapshot: e.machine.snapshot()})
	return e
}

// Close releases an Engine that was never Run.
func (e *Engine) Close() error { return e.worker.close() }

// Update replaces the configuration, except for the fields that [NeedsRestart]
// compares. It does not block. A configuration that [Open] would refuse is logged
// and ignored.
func (e *Engine) Update(cfg Config) {
	cfg.Interface, cfg.VRID = e.iface, e.vrid
	err := cfg.check()
	if err == nil && NeedsRestart(e.openedConfig, cfg) {
		err = errors.New("another virtual router uses this VRID")
	}
	var secret auth.Secret
	if err == nil {
		secret, err = cfg.Authentication.read()
	}
	if err != nil {
		e.log.Error("update refused", "err", err)
		return
	}
	e.mu.Lock()
	e.pending = &update{cfg.clone(), secret}
	e.mu.Unlock()
	e.notify()
}

// HandOver makes a master resign and become backup; it serves until its successor
// has advertised. In other states it has no effect. It does not block.
// Config.Standby keeps the addresses away afterwards; an [Engine.Update] before
// this call is applied first.
func (e *Engine) HandOver() {
	e.mu.Lock()
	e.handoverPending = true
	e.mu.Unlock()
	e.notify()
}

// notify wakes the event loop.
func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default: // already pending
	}
}

// Run runs the instance until ctx ends; a master then sends priority 0 and
// removes its addresses. It returns nil, and all its goroutines have ended by
// then. An Engine runs once.
func (e *Engine) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var worker sync.WaitGroup
	worker.Go(func() { e.worker.run(inner, e.ifReports) })
	groups := e.o.Groups
	if groups == nil {
		groups = &processGroups
	}
	e.group = groups.join(e.machine.cfg.SyncGroup, e.name, e.tracking.notify)
	e.tracking.configure(e.machine.cfg)
	defer func() {
		e.group.leave()
		e.tracking.stop()
		e.tracking.tasks.Wait()
		cancel()
		close(e.done)
		worker.Wait() // closes the socket, which ends the receivers
		e.receivers.Wait()
	}()

	deadlineTimer := e.newTimer()
	defer deadlineTimer.Close()
	var set time.Time // what deadlineTimer is set to
	for {
		deadline := e.machine.Deadline()
		switch {
		case deadline.Equal(set): // most adverts do not move it
		case deadline.IsZero():
			deadlineTimer.Clear()
		default:
			deadlineTimer.Set(time.Until(deadline))
		}
		set = deadline
		select {
		case <-ctx.Done():
			e.shutdown()
			return nil
		case <-deadlineTimer.C():
			set = time.Time{}
			lag := time.Since(deadline)
			if deadline.IsZero() || lag < 0 {
				continue // fired for an earlier deadline
			}
			if e.o.ObserveLag != nil {
				e.o.ObserveLag(lag)
			}
			e.drainAdverts()
			// Without effect if one of these adverts moved the deadline.
			e.step(input{kind: inTick, group: e.group.masters()})
		case h := <-e.adverts:
			e.onAdvert(h)
		case r := <-e.dropped:
			e.step(input{kind: inDropped, from: r.from, drop: r.drop, detail: r.detail})
		case r := <-e.ifReports:
			e.onIfReport(r)
		case s := <-e.sightings:
			e.step(input{kind: inSighting, solicited: s.Solicited, holders: []Holder{{
				Address: s.Address, Detail: fmt.Sprintf("is also used by %s on %s", s.MAC, s.Interface)}}})
		case <-e.wake:
			e.onUpdate()
		case <-e.tracking.changed:
			e.onTracking()
		}
	}
}

// onTracking passes tracked objects and the state of the sync group to the
// machine.
func (e *Engine) onTracking() {
	all := e.tracking.all()
	delta, fault := sum(all)
	e.tracked.Store(&all)
	faults, more, follow := e.group.others()
	if fault != "" {
		faults = append([]string{fault}, faults...)
	}
	e.step(input{kind: inTrack, delta: delta + more, detail: strings.Join(faults, "; ")})
	if follow != nil {
		e.step(input{kind: inGroup, to: follow.to, detail: "following " + strconv.Quote(follow.by) + " (same sync group)"})
	}
	e.publishGroupState()
}

// publishGroupState reports to the sync group what keeps this instance in Fault.
func (e *Engine) publishGroupState() {
	if e.group == nil {
		return
	}
	delta, fault := sum(*e.tracked.Load())
	if m := e.machine; fault == "" && m.state == Fault && m.reason != ReasonTracked {
		fault = m.reason
	}
	e.group.setState(groupState{fault, delta, e.machine.followed()})
}

// drainAdverts handles the adverts that arrived before the timer fired; they come
// first. Only those queued now, so that a flood cannot hold off the timer.
func (e *Engine) drainAdverts() {
	for range len(e.adverts) {
		e.onAdvert(<-e.adverts)
	}
}

func (e *Engine) onAdvert(h rxAdvert) {
	e.counters.lastAdvert.Store(h.at.UnixNano())
	e.step(input{
		kind: inAdvert, from: h.from, priority: h.advert.Priority,
		interval: h.advert.Interval, addresses: h.advert.Addresses,
	})
}

func (e *Engine) onUpdate() {
	e.mu.Lock()
	u, handing := e.pending, e.handoverPending
	e.pending, e.handoverPending = nil, false
	e.mu.Unlock()
	if u != nil {
		e.applyConfig(*u)
		e.tracking.configure(u.Config)
		e.step(input{kind: inUpdate, config: u.Config})
	}
	if handing {
		e.step(input{kind: inHandOver})
	}
}

func (a Authentication) read() (auth.Secret, error) {
	if a.Key != "" {
		return auth.Parse(a.Type, a.KeyFile, []byte(a.Key), a.Permissive)
	}
	return auth.Read(a.Type, a.KeyFile, a.Permissive)
}

// update is a new configuration with the content of its key file.
type update struct {
	Config
	auth.Secret
}

// applyConfig prepares what sending and receiving need of a configuration.
func (e *Engine) applyConfig(u update) {
	e.advertAddrs = addressesOf(u.Addresses)
	e.destinations = u.Unicast
	if len(e.destinations) == 0 {
		e.destinations = []netip.Addr{group(u.v6())}
	}
	e.counters.interval.Store(int64(u.AdvertInterval))
	rules := &Rules{VRID: e.vrid, Version: u.version(), Interval: u.AdvertInterval, Password: u.Password, Empty: len(u.Addresses) == 0}
	if len(u.Unicast) > 0 {
		rules.Peers, rules.Hops = u.Unicast, u.UnicastHops
	}
	e.rules.Store(rules)
	e.keys.Store(u.Keys)
	held := u.allAddresses()
	e.configured.Store(&held)
	if weights := len(u.TrackInterfaces) + len(u.TrackScripts) + len(u.TrackFiles); u.Priority == 255 && weights > 0 {
		e.log.Warn("tracking weights have no effect with priority 255: the owner of the addresses has no other priority")
	}
	e.worker.configure(held, u.Interfaces, link.ExtraRoutes{Routes: u.Routes, Rules: u.Rules}, u.Priority == 255)
}

// onIfReport handles a report of the interface worker.
func (e *Engine) onIfReport(r ifReport) {
	switch r.kind {
	case ifFirst:
		e.step(input{kind: inStart, prefixes: r.present})
		if len(r.present) > 0 {
			e.log.Info("addresses of an earlier run are kept until another master advertises", "addresses", r.present)
		}
		fallthrough
	case ifChanged:
		if r.conn != nil && r.conn != e.conn {
			e.receivers.Go(func() { e.receive(r.conn, r.source) })
		}
		e.conn, e.source = r.conn, r.source
		if r.reason == "" {
			e.step(input{kind: inReady, from: r.source})
			return
		}
		e.step(input{kind: inUnready, reason: r.reason, detail: r.detail})
	case ifMoved:
		e.step(input{kind: inMoved})
	case ifRestored:
		if e.o.OnRestored != nil {
			e.o.OnRestored(Restored{At: time.Now(), Name: e.name, Addresses: r.present})
		}
	case ifHolders:
		e.step(input{kind: inLocalHolders, holders: r.holders})
	case ifAddresses:
		e.step(input{kind: inAddresses, prefixes: r.present, addrSeq: r.addrSeq, restored: r.restored, detail: r.detail})
	}
}

// step feeds the machine with an input and with the results of its actions, then
// publishes the status.
func (e *Engine) step(in input) {
	now := time.Now()
	sent := e.perform(now, e.machine.Step(now, in))
	// A failed advert is an input too; its consequences send at most one more.
	for range 2 {
		if sent == nil {
			break
		}
		sent = e.perform(now, e.machine.Step(now, *sent))
	}
	e.publishGroupState()
	e.publish()
}

// perform performs the actions and returns the result of sending if the machine
// needs it.
func (e *Engine) perform(now time.Time, actions []action) (sent *input) {
	for _, a := range actions {
		switch a.kind {
		case doSend:
			sent = e.send(a.priority)
		case doSetAddresses:
			e.worker.requestAddresses(a.prefixes, a.addrSeq, a.arpSilenced)
		case doAnnounce:
			e.worker.announce(a.prefixes, a.probe)
		case didChangeState:
			runtime.Gosched() // lets the interface worker begin; reporting can wait
			if a.reason != ReasonGroup && (a.to == Master || a.to == Backup && a.from == Master) {
				e.group.announceMove(a.to)
			}
			e.reportTransition(now, a)
		}
	}
	return sent
}

// send sends an advert. It returns an input only if sending failed or works
// again.
func (e *Engine) send(priority uint8) *input {
	cfg := &e.machine.cfg
	a := Advert{VRID: e.vrid, Priority: priority, Interval: cfg.AdvertInterval, Addresses: e.advertAddrs, Checksum: cfg.Checksum}
	var err error = errNoSocket
	if e.conn != nil {
		err = e.sendTo(a)
	}
	if err == nil {
		e.counters.sent.Add(1)
		if e.machine.sendFailures > 0 {
			e.log.Info("sending advertisements recovered")
			return &input{kind: inSent}
		}
		return nil
	}
	if e.machine.sendFailures == 0 && priority > 0 {
		e.log.Warn("failed to send an advertisement", "err", err)
	}
	return &input{kind: inSent, detail: err.Error()}
}

// sendTo sends to all destinations and returns the first error.
func (e *Engine) sendTo(a Advert) (err error) {
	rules, keys := e.rules.Load(), e.keys.Load()
	e.stamp.Counter++
	e.stamp.Time = uint64(time.Now().UnixMicro())
	for _, to := range e.destinations {
		if rules.Version == 2 {
			e.message = a.AppendV2(e.message[:0], rules.Password)
		} else {
			e.message = a.Append(e.message[:0], e.source, to)
		}
		if keys != nil {
			e.message = keys.Sign(e.message, auth.Context{Instance: e.name, Source: e.source, Destination: to}, e.stamp)
		}
		if failed := e.conn.Send(to, e.message); failed != nil && err == nil {
			err = failed
		}
	}
	return err
}

// shutdown sends priority 0 and removes the addresses, once a successor has them
// or the handover limit has passed.
func (e *Engine) shutdown() {
	e.step(input{kind: inStop})
	limit := time.NewTimer(releaseTimeout + e.machine.cfg.HandoverLimit)
	defer limit.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for e.machine.releasing() || e.machine.addrAcked != e.machine.addrSeq || e.machine.addrErr != "" {
		if d := e.machine.Deadline(); !d.IsZero() {
			retry.Reset(time.Until(d))
		}
		select {
		case r := <-e.ifReports:
			if r.kind == ifAddresses {
				e.onIfReport(r)
			}
		case <-retry.C:
			e.step(input{kind: inTick, group: e.group.masters()})
		case h := <-e.adverts:
			e.onAdvert(h)
		case <-e.dropped:
		case <-limit.C:
			e.log.Error("addresses may remain on the interface", "interface", e.iface, "err", e.machine.addrErr)
			return
		}
	}
}
