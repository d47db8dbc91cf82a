// This file is the side of an election that may have to wait for the kernel:
// the state of the interface, the addresses, announcements and the socket. It
// never decides, and the loop never waits for it; a wish that is replaced before
// it was begun is never carried out.

package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"lvsd/vrrp/link"
)

var errNoSocket = errors.New("no socket is open")

const (
	// pollInterval is how often the interface is looked at even if nothing was
	// told: messages of the kernel's can be lost.
	pollInterval = 5 * time.Second
	// redialDelay is the wait before a socket that did not open is tried again.
	redialDelay = time.Second
)

// ifworker works for one election. Its wishes are levels: the newest counts.
type ifworker struct {
	iface    string
	v6       bool
	source   netip.Addr // what adverts must leave from; the zero Addr: the interface's first
	port     port
	dial     dialer
	log      *slog.Logger
	counters *counters
	wake     chan struct{} // there is something to do

	mu           sync.Mutex
	configured   []netip.Prefix   // what is looked for at the start
	routes       link.ExtraRoutes // what moves with them
	want         []netip.Prefix
	arpSilenced  bool   // what is wanted shall not be heard of
	holdSeq      uint64 // number of want
	holdDone     uint64 // the wish that was reported last
	toAnnounce   []netip.Prefix
	checkPending bool // the interface is to be looked at
	brokenConn   conn // a socket that cannot be read any more

	// What follows is the worker's alone.
	managed   []netip.Prefix // all that was ever wanted and may be on the interface
	conn      conn
	opened    time.Time  // when conn was
	state     link.State // as it was seen last; conn fits it
	loggedErr string     // the error that was logged last
	reported  ifReport
	retryAt   time.Time // when to try again; zero: no need
}

// ifReport is what the loop learns.
type ifReport struct {
	kind    ifReportKind
	present []netip.Prefix // groundFirst, groundAddresses

	configured []netip.Prefix // groundFirst
	holdSeq    uint64
	restored   bool

	conn   conn // groundState: to be used from now on; nil: none
	source netip.Addr
	reason string // why no election can be held: a Reason constant; empty: it can
	detail string
}

type ifReportKind uint8

const (
	ifChanged   ifReportKind = iota // the interface or the socket changed
	ifFirst                         // the same, and it is the first
	ifAddresses                     // a wish was carried out, or failed
)

func newIfworker(cfg Config, p port, dial dialer, log *slog.Logger, c *counters) *ifworker {
	return &ifworker{iface: cfg.Interface, v6: cfg.v6(), source: cfg.Source, port: p, dial: dial, log: log, counters: c, wake: make(chan struct{}, 1)}
}

// prepare proves that an election could be held here.
func (w *ifworker) prepare() error {
	s, err := w.port.State(w.configured, w.source)
	if err != nil {
		return err
	}
	if s.Pending {
		return nil // the address will be there in a second or two
	}
	if !s.Primary.IsValid() {
		return fmt.Errorf("interface %s has no %s to send adverts from: give it one of its own (ip address add …), the virtual ones do not count", w.iface, w.missingAddress())
	}
	return w.open(s)
}

// missingAddress names what the interface does not have.
func (w *ifworker) missingAddress() string {
	switch {
	case w.source.IsValid():
		return "address " + w.source.String()
	case w.v6:
		return "link-local IPv6 address"
	}
	return "IPv4 address"
}

// close frees everything. Not while run runs.
func (w *ifworker) close() error {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	return w.port.Close()
}

// The loop's side. Each returns at once.

func (w *ifworker) configure(configured []netip.Prefix, along link.ExtraRoutes) {
	w.mu.Lock()
	changed := !along.Equal(w.routes)
	w.configured, w.routes = configured, along
	w.mu.Unlock()
	if changed {
		w.check()
	}
}

func (w *ifworker) hold(want []netip.Prefix, wish uint64, quiet bool) {
	w.mu.Lock()
	w.want, w.holdSeq, w.arpSilenced = want, wish, quiet
	w.toAnnounce = intersect(want, w.toAnnounce)
	w.mu.Unlock()
	w.notify()
}

func (w *ifworker) announce(addrs []netip.Prefix) {
	w.mu.Lock()
	w.toAnnounce = append(subtract(w.toAnnounce, addrs), addrs...)
	w.mu.Unlock()
	w.notify()
}

// socketFailed says that a socket does not receive any more.
func (w *ifworker) socketFailed(c conn) {
	w.mu.Lock()
	w.brokenConn = c
	w.mu.Unlock()
	w.check()
}

func (w *ifworker) check() {
	w.mu.Lock()
	w.checkPending = true
	w.mu.Unlock()
	w.notify()
}

func (w *ifworker) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, then frees everything.
func (w *ifworker) run(ctx context.Context, reports chan<- ifReport) {
	defer func() { _ = w.close() }()
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { w.port.Watch(ctx, w.check) })

	tell := func(r ifReport) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	w.reported = ifReport{conn: w.conn, source: w.state.Primary} // as prepared
	first := w.checkInterface()
	first.kind = ifFirst
	first.present = w.state.Present
	w.mu.Lock()
	first.configured = w.configured
	w.mu.Unlock()
	w.managed = slices.Clone(first.present)
	w.reported = first
	tell(first)
	if first.reason == "" {
		// What a killed daemon left half handed over; nothing else is changed.
		_, _, err := w.port.SetAddresses(first.configured, first.present, false)
		if len(first.present) == 0 {
			err = errors.Join(w.setRoutes(false, nil), err)
		}
		if err != nil {
			w.log.Warn("addresses failed", "err", err)
		}
	}

	pollAt := time.Now().Add(pollInterval)
	poll := time.NewTimer(pollInterval)
	defer poll.Stop()
	for {
		w.runPending(tell)
		poll.Reset(time.Until(earliest(pollAt, w.retryAt)))
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-poll.C:
			pollAt = time.Now().Add(pollInterval)
			w.mu.Lock()
			w.checkPending = true
			w.mu.Unlock()
		}
	}
}

// runPending does all there is to do.
func (w *ifworker) runPending(tell func(ifReport)) {
	w.mu.Lock()
	looking := w.checkPending
	w.checkPending = false
	w.mu.Unlock()

	// Addresses before anything else: they are what people wait for.
	w.applyHold(tell)
	if looking {
		r := w.checkInterface()
		if r.conn != w.reported.conn || r.source != w.reported.source || r.reason != w.reported.reason || r.detail != w.reported.detail {
			w.reported = r
			tell(r)
		}
		w.repair(tell)
	}
	w.sendAnnouncements()
}

// applyHold makes the interface hold what is wanted, if that changed.
func (w *ifworker) applyHold(tell func(ifReport)) {
	w.mu.Lock()
	want, wish, quiet, fresh := w.want, w.holdSeq, w.arpSilenced, w.holdDone != w.holdSeq
	w.mu.Unlock()
	if !fresh {
		return
	}
	began := time.Now()
	held, _, err := w.setAddresses(want, quiet)
	w.log.Debug("addresses set", "want", want, "quiet", quiet, "held", held, "took", time.Since(began), "err", err)
	if err == nil {
		// Neighbours first: what else there is to do for it takes as long as this.
		w.markDone(wish)
		w.sendAnnouncements()
	}
	w.reportAddresses(tell, wish, held, false, err)
}

// markDone notes which wish was carried out.
func (w *ifworker) markDone(wish uint64) {
	w.mu.Lock()
	w.holdDone = wish
	w.mu.Unlock()
}

// repair puts back what somebody else took away.
func (w *ifworker) repair(tell func(ifReport)) {
	w.mu.Lock()
	want, wish, settled := w.want, w.holdSeq, w.holdDone == w.holdSeq && !w.arpSilenced
	w.mu.Unlock()
	if !settled || w.reported.reason != "" || len(want) == 0 {
		return
	}
	if len(subtract(want, w.state.Present)) == 0 {
		if err := w.setRoutes(true, nil); err != nil {
			w.reportAddresses(tell, wish, want, false, err)
		}
		return
	}
	held, added, err := w.setAddresses(want, false)
	if len(added) > 0 {
		w.counters.restored.Add(uint64(len(added)))
		w.log.Warn("somebody else removed addresses: put back", "addresses", added)
	}
	w.reportAddresses(tell, wish, held, len(added) > 0, err)
}

// setAddresses makes the interface hold the addresses, and routes and rules be there as
// long as they are: these come last, and go first.
func (w *ifworker) setAddresses(want []netip.Prefix, quiet bool) (held, added []netip.Prefix, err error) {
	ours := append(subtract(w.managed, want), want...)
	if len(want) == 0 {
		defer func(moved error) { err = errors.Join(err, moved) }(w.setRoutes(false, nil))
	}
	held, added, err = w.port.SetAddresses(ours, want, quiet)
	w.managed = held // what could not be removed stays to be removed
	if len(want) > 0 {
		err = w.setRoutes(true, err)
	}
	return held, added, err
}

// setRoutes has the routes and rules there, or not, and joins what went wrong before.
func (w *ifworker) setRoutes(there bool, before error) error {
	w.mu.Lock()
	along := w.routes
	w.mu.Unlock()
	restored, err := w.port.SetRoutes(along, there)
	if len(restored) > 0 {
		w.counters.restored.Add(uint64(len(restored)))
		w.log.Warn("somebody else removed routes or rules: put back", "restored", restored)
	}
	return errors.Join(before, err)
}

func (w *ifworker) reportAddresses(tell func(ifReport), wish uint64, held []netip.Prefix, restored bool, err error) {
	r := ifReport{kind: ifAddresses, holdSeq: wish, present: held, restored: restored}
	if err != nil {
		r.detail = strings.ReplaceAll(err.Error(), "\n", "; ") // of several addresses
	}
	if r.detail != "" && r.detail != w.loggedErr {
		w.log.Warn("addresses failed", "err", err)
	}
	w.loggedErr = r.detail
	w.markDone(wish)
	tell(r)
}

// sendAnnouncements announces what is held, once the newest wish is carried out.
func (w *ifworker) sendAnnouncements() {
	w.mu.Lock()
	if w.holdDone != w.holdSeq {
		w.mu.Unlock()
		return
	}
	due := intersect(w.toAnnounce, intersect(w.want, w.managed))
	w.toAnnounce = nil
	w.mu.Unlock()
	if len(due) == 0 {
		return
	}
	addrs := make([]netip.Addr, len(due))
	for i, p := range due {
		addrs[i] = p.Addr()
	}
	frames, err := w.port.Announce(addrs)
	w.counters.announced.Add(uint64(frames))
	if err != nil {
		w.log.Warn("announcement failed", "err", err)
	}
}

// checkInterface looks at the interface, opens or replaces the socket, and says whether
// an election can be held.
func (w *ifworker) checkInterface() ifReport {
	w.mu.Lock()
	asked := append(subtract(w.managed, w.configured), w.configured...)
	broken := w.brokenConn
	w.brokenConn = nil
	w.mu.Unlock()
	s, err := w.port.State(asked, w.source)
	if err != nil {
		// Not knowing is no reason to give the addresses up.
		w.log.Warn("the interface could not be looked at", "err", err)
		w.mu.Lock()
		w.brokenConn = broken
		w.mu.Unlock()
		w.retryAt = time.Now().Add(redialDelay) // look again soon
		return w.reported
	}
	if w.conn != nil && (w.conn == broken || s.Index != w.state.Index || s.Primary != w.state.Primary) {
		_ = w.conn.Close()
		w.conn = nil
	}
	w.state = s
	w.retryAt = time.Time{}
	switch {
	case !s.Exists:
		return ifReport{reason: ReasonNoInterface, detail: "no interface " + w.iface}
	case !s.Primary.IsValid():
		return ifReport{reason: ReasonNoAddress, detail: w.iface + " has no " + w.missingAddress() + " of its own"}
	}
	if w.conn == nil {
		// One that fails as soon as it is open is not opened in a circle.
		if next := w.opened.Add(redialDelay); broken != nil && time.Now().Before(next) {
			w.retryAt = next
			return ifReport{reason: ReasonSocket, detail: "the socket on " + w.iface + " failed"}
		}
		if err := w.open(s); err != nil {
			w.retryAt = time.Now().Add(redialDelay)
			return ifReport{reason: ReasonSocket, detail: err.Error()}
		}
	}
	r := ifReport{conn: w.conn, source: s.Primary}
	switch {
	case !s.AdminUp:
		r.reason, r.detail = ReasonLinkDown, w.iface+" is set down"
	case !s.Carrier:
		r.reason, r.detail = ReasonLinkDown, w.iface+" has no carrier"
	}
	return r
}

func (w *ifworker) open(s link.State) error {
	c, err := w.dial(w.iface, s.Index, s.Primary)
	if err != nil {
		return err
	}
	w.conn, w.state, w.opened = c, s, time.Now()
	return nil
}
