// The interface worker does what may wait for the kernel: interface state,
// addresses, routes, announcements and the socket. The event loop never waits for
// it. Requests are levels: a newer one replaces an older one that has not begun.

package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"lvsd/vrrp/conflict"
	"lvsd/vrrp/link"
)

var errNoSocket = errors.New("no socket is open")

const (
	// pollInterval is how often the interface is checked without a notification:
	// netlink messages can be lost.
	pollInterval = 5 * time.Second
	// redialDelay is the time between attempts to open a socket.
	redialDelay = time.Second
	// addressGrace is how long the interface may be without its own address: network
	// managers remove addresses and add them again. Without the address no
	// resignation can be sent either. At short advert intervals it is two of them,
	// so that it ends before a backup takes over.
	addressGrace = 500 * time.Millisecond
	// moveGrace is how long an address that left the configuration of a master stays:
	// a reload may have given it to another instance, which wants it by then.
	moveGrace = 200 * time.Millisecond
)

// ifworker works for one instance.
type ifworker struct {
	iface    string
	v6       bool
	source   netip.Addr // required source address of adverts; the zero Addr: the first of the interface
	port     port
	dial     dialer
	log      *slog.Logger
	counters *counters
	found    func(link.Sighting) // called for other hosts that use an address; must not block
	wake     chan struct{}       // work is pending

	mu                sync.Mutex
	configured        []netip.Prefix        // looked for at start
	interfaces        map[netip.Addr]string // of addresses that are not on iface
	interfacesPending bool                  // interfaces changed
	owner             bool                  // of the addresses: adverts may be sent from one of them
	routes            link.ExtraRoutes      // present while the addresses are
	want              []netip.Prefix
	arpSilenced       bool   // do not answer ARP/ND for want
	addrSeq           uint64 // number of want
	addrDone          uint64 // number of the last request reported
	toAnnounce        []netip.Prefix
	probePending      bool // ask for other holders of toAnnounce
	checkPending      bool // check the interface
	brokenConn        conn // a socket that no longer receives

	// Owned by the worker's goroutine.
	managed   []netip.Prefix // all addresses ever wanted that may be on the interface
	conn      conn
	opened    time.Time  // when conn was opened
	state     link.State // last interface state; conn matches it
	lostAt    time.Time  // since when the interface has been without its own address; zero: it has one
	loggedErr string     // the last error logged
	reported  ifReport
	unguarded bool // Guard failed

	restored   []netip.Prefix // put back, and not reported yet
	restoredAt time.Time      // when such were reported last

	holders, holdersReported []conflict.Holder // of our addresses, elsewhere on this host
	retryAt                  time.Time         // when to check again; zero: at the next poll
	dropAt                   time.Time         // when addresses that left the configuration are removed; zero: there are none
}

// ifReport is a message to the event loop.
type ifReport struct {
	kind    ifReportKind
	present []netip.Prefix // ifFirst, ifAddresses, ifRestored

	configured []netip.Prefix // ifFirst
	addrSeq    uint64
	restored   bool

	holders []conflict.Holder // ifHolders

	conn   conn // ifChanged: the socket to use from now on; nil: none
	source netip.Addr
	reason string // why the instance cannot run: a Reason constant; empty: it can
	detail string
}

type ifReportKind uint8

const (
	ifChanged   ifReportKind = iota // the interface or the socket changed
	ifFirst                         // the first report, otherwise as ifChanged
	ifMoved                         // the hardware address changed
	ifAddresses                     // a request was carried out, or failed
	ifHolders                       // others on this host have our addresses, or no longer
	ifRestored                      // addresses were put back
)

func newIfworker(cfg Config, p port, dial dialer, log *slog.Logger, c *counters) *ifworker {
	return &ifworker{iface: cfg.Interface, v6: cfg.v6(), source: cfg.Source, port: p, dial: dial, log: log, counters: c, wake: make(chan struct{}, 1)}
}

// prepare checks that the instance can run on this interface.
func (w *ifworker) prepare() error {
	s, err := w.port.State(w.configured, w.source, w.owner)
	if err != nil {
		return err
	}
	switch {
	case !s.Exists:
		return fmt.Errorf("no interface %s on this host: correct `interface`, or create it first (ip link show)", w.iface)
	case s.Missing != "":
		return fmt.Errorf("no interface %s on this host: correct it in `addresses`, or create it first (ip link show)", s.Missing)
	case s.Pending:
		return nil // IPv6 duplicate address detection takes a second or two
	case !s.Primary.IsValid():
		return fmt.Errorf("interface %s has no %s to send adverts from: add one (ip address add …); virtual addresses do not count", w.iface, w.missingAddress())
	}
	return w.open(s)
}

// missingAddress names the address that the interface lacks.
func (w *ifworker) missingAddress() string {
	switch {
	case w.source.IsValid():
		return "address " + w.source.String()
	case w.v6:
		return "link-local IPv6 address"
	}
	return "IPv4 address"
}

// close releases everything. It must not be called while run runs.
func (w *ifworker) close() error {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	return w.port.Close()
}

// Called by the event loop; none blocks.

func (w *ifworker) configure(configured []netip.Prefix, on map[netip.Addr]string, routes link.ExtraRoutes, owner bool) {
	w.mu.Lock()
	changed := !routes.Equal(w.routes)
	changed = changed || owner != w.owner
	w.configured, w.routes, w.owner = configured, routes, owner
	if !maps.Equal(on, w.interfaces) {
		w.interfaces = on
		w.port.SetInterfaces(on)
		w.interfacesPending = len(w.want) > 0
		w.toAnnounce = append(subtract(w.toAnnounce, w.want), w.want...)
		changed = true
	}
	w.mu.Unlock()
	if changed {
		w.check()
	}
}

func (w *ifworker) requestAddresses(want []netip.Prefix, seq uint64, arpSilenced bool) {
	w.mu.Lock()
	w.want, w.addrSeq, w.arpSilenced = want, seq, arpSilenced
	w.toAnnounce = intersect(want, w.toAnnounce)
	w.mu.Unlock()
	w.notify()
}

func (w *ifworker) announce(addrs []netip.Prefix, probe bool) {
	w.mu.Lock()
	w.probePending = w.probePending || probe
	w.toAnnounce = append(subtract(w.toAnnounce, addrs), addrs...)
	w.mu.Unlock()
	w.notify()
}

// socketFailed reports that a socket no longer receives.
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

// run works until ctx ends, then releases everything.
func (w *ifworker) run(ctx context.Context, reports chan<- ifReport) {
	defer func() { _ = w.close() }()
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { w.port.Watch(ctx, w.check) })

	report := func(r ifReport) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	w.reported = ifReport{conn: w.conn, source: w.state.Primary} // as prepare left it
	first := w.checkInterface()
	first.kind = ifFirst
	first.present = w.state.Present
	w.mu.Lock()
	first.configured = w.configured
	w.mu.Unlock()
	w.managed, w.holders = slices.Clone(first.present), nil
	w.reported = first
	report(first)
	if first.reason == "" {
		// Completes a release that a killed daemon left half done; nothing else
		// changes.
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
		w.runPending(report)
		poll.Reset(time.Until(earliest(pollAt, w.retryAt, w.dropAt)))
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

// runPending does all pending work.
func (w *ifworker) runPending(report func(ifReport)) {
	w.mu.Lock()
	looking := w.checkPending
	w.checkPending = false
	w.mu.Unlock()

	// Addresses first: clients wait for them.
	w.applyAddresses(report)
	w.dropAddresses(report)
	if looking {
		mac := w.state.MAC
		r := w.checkInterface()
		if mac != "" && w.state.MAC != mac && w.state.MAC != "" {
			report(ifReport{kind: ifMoved})
		}
		if r.conn != w.reported.conn || r.source != w.reported.source || r.reason != w.reported.reason || r.detail != w.reported.detail {
			w.reported = r
			report(r)
		}
		w.repair(report)
		w.reportRestored(report)
		if !slices.Equal(w.holders, w.holdersReported) {
			w.holdersReported = w.holders
			report(ifReport{kind: ifHolders, holders: w.holders})
		}
	}
	w.sendAnnouncements()
	w.guard()
}

// localHolders returns what else on this host has our addresses: other interfaces, and
// on the instance's own what another program put there. The addresses of an owner may
// belong to the interface.
func (w *ifworker) localHolders(s link.State, owner bool) (holders []conflict.Holder) {
	if !owner {
		for _, p := range subtract(s.Present, w.managed) {
			holders = append(holders, conflict.Holder{Address: p.Addr(), Detail: "is on " + w.interfaceOf(p.Addr()) + " by another process"})
		}
	}
	for _, e := range s.Elsewhere {
		holders = append(holders, conflict.Holder{Address: e.Address, Detail: "is on " + e.Interface + " of this director as well"})
	}
	return holders
}

// interfaceOf returns the interface that an address belongs on.
func (w *ifworker) interfaceOf(a netip.Addr) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name := w.interfaces[a]; name != "" {
		return name
	}
	return w.iface
}

// guard listens for other hosts that use the addresses while they are answered for.
func (w *ifworker) guard() {
	w.mu.Lock()
	held := intersect(w.want, w.managed)
	if w.arpSilenced || w.addrDone != w.addrSeq {
		held = nil
	}
	w.mu.Unlock()
	err := w.port.Guard(addressesOf(held), w.found)
	if err != nil && !w.unguarded {
		w.log.Warn("address conflicts are not detected", "err", err)
	}
	w.unguarded = err != nil
}

// addressesOf returns the addresses of prefixes.
func addressesOf(prefixes []netip.Prefix) []netip.Addr {
	addrs := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		addrs[i] = p.Addr()
	}
	return addrs
}

// applyAddresses sets the requested addresses if the request is new.
func (w *ifworker) applyAddresses(report func(ifReport)) {
	w.mu.Lock()
	want, seq, arpSilenced, pending := w.want, w.addrSeq, w.arpSilenced, w.addrDone != w.addrSeq || w.interfacesPending
	w.interfacesPending = false
	w.mu.Unlock()
	if !pending {
		return
	}
	began := time.Now()
	held, _, err := w.setAddresses(want, arpSilenced)
	w.log.Debug("addresses set", "want", want, "arp_silenced", arpSilenced, "present", held, "took", time.Since(began), "err", err)
	if err == nil {
		// Announce first: the report to the event loop can wait.
		w.markDone(seq)
		w.sendAnnouncements()
	}
	w.reportAddresses(report, seq, held, false, err)
}

// dropAddresses removes the addresses that left the configuration when they are due.
func (w *ifworker) dropAddresses(report func(ifReport)) {
	w.mu.Lock()
	want, seq, arpSilenced, settled := w.want, w.addrSeq, w.arpSilenced, w.addrDone == w.addrSeq
	w.mu.Unlock()
	if settled && due(w.dropAt, time.Now()) {
		held, _, err := w.setAddresses(want, arpSilenced)
		w.reportAddresses(report, seq, held, false, err)
	}
}

// leaving returns the addresses that left the configuration of a master and stay for
// a moment.
func (w *ifworker) leaving(want []netip.Prefix, arpSilenced bool) []netip.Prefix {
	w.mu.Lock()
	gone := subtract(subtract(w.managed, want), w.configured)
	w.mu.Unlock()
	now := time.Now()
	switch {
	case len(gone) == 0, len(want) == 0, arpSilenced, due(w.dropAt, now):
		w.dropAt = time.Time{}
		return nil
	case w.dropAt.IsZero():
		w.dropAt = now.Add(moveGrace)
	}
	return gone
}

// markDone records which request was carried out.
func (w *ifworker) markDone(seq uint64) {
	w.mu.Lock()
	w.addrDone = seq
	w.mu.Unlock()
}

// repair restores addresses that another process removed.
func (w *ifworker) repair(report func(ifReport)) {
	w.mu.Lock()
	want, seq, settled := w.want, w.addrSeq, w.addrDone == w.addrSeq && !w.arpSilenced
	w.mu.Unlock()
	if !settled || w.reported.reason != "" || len(want) == 0 {
		return
	}
	if len(subtract(want, w.state.Present)) == 0 {
		if err := w.setRoutes(true, nil); err != nil {
			w.reportAddresses(report, seq, want, false, err)
		}
		return
	}
	held, added, err := w.setAddresses(want, false)
	w.counters.restored.Add(uint64(len(added)))
	w.restored = append(subtract(w.restored, added), added...)
	w.reportAddresses(report, seq, held, len(added) > 0, err)
}

// reportRestored reports the addresses that were put back, those of some time at once.
func (w *ifworker) reportRestored(report func(ifReport)) {
	if now := time.Now(); len(w.restored) > 0 && now.Sub(w.restoredAt) >= logEvery {
		w.log.Warn("addresses removed by another process were restored", "addresses", w.restored)
		report(ifReport{kind: ifRestored, present: w.restored})
		w.restored, w.restoredAt = nil, now
	}
}

// setAddresses sets the addresses; routes and rules are added after them and
// removed before them.
func (w *ifworker) setAddresses(want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error) {
	leaving := w.leaving(want, arpSilenced)
	ours := append(subtract(subtract(w.managed, want), leaving), want...)
	if len(want) == 0 {
		defer func(moved error) { err = errors.Join(err, moved) }(w.setRoutes(false, nil))
	}
	held, added, err = w.port.SetAddresses(ours, want, arpSilenced)
	w.managed = append(slices.Clone(held), leaving...) // including addresses whose removal failed
	if len(want) > 0 {
		err = w.setRoutes(true, err)
	}
	return held, added, err
}

// setRoutes adds or removes routes and rules, and joins its error with err.
func (w *ifworker) setRoutes(present bool, before error) error {
	w.mu.Lock()
	routes := w.routes
	w.mu.Unlock()
	restored, err := w.port.SetRoutes(routes, present)
	if len(restored) > 0 {
		w.counters.restored.Add(uint64(len(restored)))
		w.log.Warn("routes or rules removed by another process were restored", "restored", restored)
	}
	return errors.Join(before, err)
}

func (w *ifworker) reportAddresses(report func(ifReport), seq uint64, held []netip.Prefix, restored bool, err error) {
	r := ifReport{kind: ifAddresses, addrSeq: seq, present: held, restored: restored}
	if err != nil {
		r.detail = strings.ReplaceAll(err.Error(), "\n", "; ") // errors.Join separates by newlines
	}
	if r.detail != "" && r.detail != w.loggedErr {
		w.log.Warn("addresses failed", "err", err)
	}
	w.loggedErr = r.detail
	w.markDone(seq)
	report(r)
}

// sendAnnouncements announces the addresses on the interface once the newest
// request is carried out.
func (w *ifworker) sendAnnouncements() {
	w.mu.Lock()
	if w.addrDone != w.addrSeq {
		w.mu.Unlock()
		return
	}
	due := intersect(w.toAnnounce, intersect(w.want, w.managed))
	probe := w.probePending
	w.toAnnounce, w.probePending = nil, false
	w.mu.Unlock()
	if len(due) == 0 {
		return
	}
	addrs := addressesOf(due)
	frames, err := w.port.Announce(addrs)
	w.counters.announced.Add(uint64(frames))
	if err == nil && probe {
		err = w.port.Probe(addrs, w.state.Primary)
	}
	if err != nil {
		w.log.Warn("announcement failed", "err", err)
	}
}

// checkInterface reads the interface state, opens or replaces the socket, and
// reports whether the instance can run.
func (w *ifworker) checkInterface() ifReport {
	w.mu.Lock()
	asked := append(subtract(w.managed, w.configured), w.configured...)
	failed, owner := w.brokenConn, w.owner
	w.brokenConn = nil
	w.mu.Unlock()
	s, err := w.port.State(asked, w.source, owner)
	if err != nil {
		// An unknown state is no reason to give up the addresses.
		w.log.Warn("failed to inspect the interface", "err", err)
		w.mu.Lock()
		w.brokenConn = failed
		w.mu.Unlock()
		w.retryAt = time.Now().Add(redialDelay) // check again soon
		return w.reported
	}
	if now := time.Now(); s.AdminUp && s.Carrier && !s.Primary.IsValid() && w.conn != nil && w.conn != failed && s.Index == w.state.Index {
		if w.lostAt.IsZero() {
			w.lostAt = now
		}
		grace := min(addressGrace, 2*time.Duration(w.counters.interval.Load()))
		if end := w.lostAt.Add(grace); now.Before(end) {
			w.state.Present, w.retryAt = s.Present, end
			return w.reported
		}
	} else {
		w.lostAt = time.Time{}
	}
	if w.conn != nil && (w.conn == failed || s.Index != w.state.Index || s.Primary != w.state.Primary) {
		_ = w.conn.Close()
		w.conn = nil
	}
	w.state, w.holders = s, w.localHolders(s, owner)
	w.retryAt = time.Time{}
	switch {
	case !s.Exists:
		return ifReport{reason: ReasonNoInterface, detail: "no interface " + w.iface}
	case !s.Primary.IsValid():
		return ifReport{reason: ReasonNoAddress, detail: w.iface + " has no " + w.missingAddress() + " of its own"}
	}
	if w.conn == nil {
		// A socket that fails as soon as it is open is not reopened in a tight
		// loop.
		if next := w.opened.Add(redialDelay); failed != nil && time.Now().Before(next) {
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
	case s.Missing != "":
		r.reason, r.detail = ReasonNoInterface, "no interface "+s.Missing
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
