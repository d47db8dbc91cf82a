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
	// redialAfter is the wait before a socket that did not open is tried again.
	redialAfter = time.Second
)

// ground works for one election. Its wishes are levels: the newest counts.
type ground struct {
	iface    string
	v6       bool
	source   netip.Addr // what adverts must leave from; the zero Addr: the interface's first
	port     port
	dial     dialer
	log      *slog.Logger
	counters *counters
	signal   chan struct{} // there is something to do

	mu         sync.Mutex
	configured []netip.Prefix // what is looked for at the start
	along      link.Along     // what moves with them
	want       []netip.Prefix
	quiet      bool   // what is wanted shall not be heard of
	wish       uint64 // number of want
	done       uint64 // the wish that was reported last
	announcing []netip.Prefix
	looking    bool // the interface is to be looked at
	broken     conn // a socket that cannot be read any more

	// What follows is the worker's alone.
	managed []netip.Prefix // all that was ever wanted and may be on the interface
	conn    conn
	opened  time.Time  // when conn was
	state   link.State // as it was seen last; conn fits it
	failed  string     // the error that was logged last
	told    groundReport
	dialAt  time.Time // when to try again; zero: no need
}

// groundReport is what the loop learns.
type groundReport struct {
	kind    groundKind
	present []netip.Prefix // groundFirst, groundAddresses

	configured []netip.Prefix // groundFirst
	wish       uint64
	restored   bool

	conn   conn // groundState: to be used from now on; nil: none
	source netip.Addr
	reason string // why no election can be held: a Reason constant; empty: it can
	detail string
}

type groundKind uint8

const (
	groundState     groundKind = iota // the interface or the socket changed
	groundFirst                       // the same, and it is the first
	groundAddresses                   // a wish was carried out, or failed
)

func newGround(cfg Config, p port, dial dialer, log *slog.Logger, c *counters) *ground {
	return &ground{iface: cfg.Interface, v6: cfg.v6(), source: cfg.Source, port: p, dial: dial, log: log, counters: c, signal: make(chan struct{}, 1)}
}

// prepare proves that an election could be held here.
func (g *ground) prepare() error {
	s, err := g.port.Look(g.configured, g.source)
	if err != nil {
		return err
	}
	if s.Pending {
		return nil // the address will be there in a second or two
	}
	if !s.Primary.IsValid() {
		return fmt.Errorf("interface %s has no %s to send adverts from: give it one of its own (ip address add …), the virtual ones do not count", g.iface, g.lacking())
	}
	return g.open(s)
}

// lacking names what the interface does not have.
func (g *ground) lacking() string {
	switch {
	case g.source.IsValid():
		return "address " + g.source.String()
	case g.v6:
		return "link-local IPv6 address"
	}
	return "IPv4 address"
}

// close frees everything. Not while run runs.
func (g *ground) close() error {
	if g.conn != nil {
		_ = g.conn.Close()
		g.conn = nil
	}
	return g.port.Close()
}

// The loop's side. Each returns at once.

func (g *ground) watchFor(configured []netip.Prefix, along link.Along) {
	g.mu.Lock()
	changed := !along.Equal(g.along)
	g.configured, g.along = configured, along
	g.mu.Unlock()
	if changed {
		g.look()
	}
}

func (g *ground) hold(want []netip.Prefix, wish uint64, quiet bool) {
	g.mu.Lock()
	g.want, g.wish, g.quiet = want, wish, quiet
	g.announcing = both(want, g.announcing)
	g.mu.Unlock()
	g.nudge()
}

func (g *ground) announce(addrs []netip.Prefix) {
	g.mu.Lock()
	g.announcing = append(without(g.announcing, addrs), addrs...)
	g.mu.Unlock()
	g.nudge()
}

// lost says that a socket does not receive any more.
func (g *ground) lost(c conn) {
	g.mu.Lock()
	g.broken = c
	g.mu.Unlock()
	g.look()
}

func (g *ground) look() {
	g.mu.Lock()
	g.looking = true
	g.mu.Unlock()
	g.nudge()
}

func (g *ground) nudge() {
	select {
	case g.signal <- struct{}{}:
	default:
	}
}

// run works until ctx ends, then frees everything.
func (g *ground) run(ctx context.Context, reports chan<- groundReport) {
	defer func() { _ = g.close() }()
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { g.port.Watch(ctx, g.look) })

	tell := func(r groundReport) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	g.told = groundReport{conn: g.conn, source: g.state.Primary} // as prepared
	first := g.assess()
	first.kind = groundFirst
	first.present = g.state.Present
	g.mu.Lock()
	first.configured = g.configured
	g.mu.Unlock()
	g.managed = slices.Clone(first.present)
	g.told = first
	tell(first)
	if first.reason == "" {
		// What a killed daemon left half handed over; nothing else is changed.
		_, _, err := g.port.Set(first.configured, first.present, false)
		if len(first.present) == 0 {
			err = errors.Join(g.move(false, nil), err)
		}
		if err != nil {
			g.log.Warn("addresses failed", "err", err)
		}
	}

	pollAt := time.Now().Add(pollInterval)
	poll := time.NewTimer(pollInterval)
	defer poll.Stop()
	for {
		g.work(tell)
		poll.Reset(time.Until(earliest(pollAt, g.dialAt)))
		select {
		case <-ctx.Done():
			return
		case <-g.signal:
		case <-poll.C:
			pollAt = time.Now().Add(pollInterval)
			g.mu.Lock()
			g.looking = true
			g.mu.Unlock()
		}
	}
}

// work does all there is to do.
func (g *ground) work(tell func(groundReport)) {
	g.mu.Lock()
	looking := g.looking
	g.looking = false
	g.mu.Unlock()

	// Addresses before anything else: they are what people wait for.
	g.carryOut(tell)
	if looking {
		r := g.assess()
		if r.conn != g.told.conn || r.source != g.told.source || r.reason != g.told.reason || r.detail != g.told.detail {
			g.told = r
			tell(r)
		}
		g.guard(tell)
	}
	g.makeKnown()
}

// carryOut makes the interface hold what is wanted, if that changed.
func (g *ground) carryOut(tell func(groundReport)) {
	g.mu.Lock()
	want, wish, quiet, fresh := g.want, g.wish, g.quiet, g.done != g.wish
	g.mu.Unlock()
	if !fresh {
		return
	}
	began := time.Now()
	held, _, err := g.set(want, quiet)
	g.log.Debug("addresses set", "want", want, "quiet", quiet, "held", held, "took", time.Since(began), "err", err)
	if err == nil {
		// Neighbours first: what else there is to do for it takes as long as this.
		g.settle(wish)
		g.makeKnown()
	}
	g.report(tell, wish, held, false, err)
}

// settle notes which wish was carried out.
func (g *ground) settle(wish uint64) {
	g.mu.Lock()
	g.done = wish
	g.mu.Unlock()
}

// guard puts back what somebody else took away.
func (g *ground) guard(tell func(groundReport)) {
	g.mu.Lock()
	want, wish, settled := g.want, g.wish, g.done == g.wish && !g.quiet
	g.mu.Unlock()
	if !settled || g.told.reason != "" || len(want) == 0 {
		return
	}
	if len(without(want, g.state.Present)) == 0 {
		if err := g.move(true, nil); err != nil {
			g.report(tell, wish, want, false, err)
		}
		return
	}
	held, added, err := g.set(want, false)
	if len(added) > 0 {
		g.counters.restored.Add(uint64(len(added)))
		g.log.Warn("somebody else removed addresses: put back", "addresses", added)
	}
	g.report(tell, wish, held, len(added) > 0, err)
}

// set makes the interface hold the addresses, and routes and rules be there as
// long as they are: these come last, and go first.
func (g *ground) set(want []netip.Prefix, quiet bool) (held, added []netip.Prefix, err error) {
	ours := append(without(g.managed, want), want...)
	if len(want) == 0 {
		defer func(moved error) { err = errors.Join(err, moved) }(g.move(false, nil))
	}
	held, added, err = g.port.Set(ours, want, quiet)
	g.managed = held // what could not be removed stays to be removed
	if len(want) > 0 {
		err = g.move(true, err)
	}
	return held, added, err
}

// move has the routes and rules there, or not, and joins what went wrong before.
func (g *ground) move(there bool, before error) error {
	g.mu.Lock()
	along := g.along
	g.mu.Unlock()
	restored, err := g.port.Move(along, there)
	if len(restored) > 0 {
		g.counters.restored.Add(uint64(len(restored)))
		g.log.Warn("somebody else removed routes or rules: put back", "restored", restored)
	}
	return errors.Join(before, err)
}

func (g *ground) report(tell func(groundReport), wish uint64, held []netip.Prefix, restored bool, err error) {
	r := groundReport{kind: groundAddresses, wish: wish, present: held, restored: restored}
	if err != nil {
		r.detail = strings.ReplaceAll(err.Error(), "\n", "; ") // of several addresses
	}
	if r.detail != "" && r.detail != g.failed {
		g.log.Warn("addresses failed", "err", err)
	}
	g.failed = r.detail
	g.settle(wish)
	tell(r)
}

// makeKnown announces what is held, once the newest wish is carried out.
func (g *ground) makeKnown() {
	g.mu.Lock()
	if g.done != g.wish {
		g.mu.Unlock()
		return
	}
	due := both(g.announcing, both(g.want, g.managed))
	g.announcing = nil
	g.mu.Unlock()
	if len(due) == 0 {
		return
	}
	addrs := make([]netip.Addr, len(due))
	for i, p := range due {
		addrs[i] = p.Addr()
	}
	frames, err := g.port.Announce(addrs)
	g.counters.announced.Add(uint64(frames))
	if err != nil {
		g.log.Warn("announcement failed", "err", err)
	}
}

// assess looks at the interface, opens or replaces the socket, and says whether
// an election can be held.
func (g *ground) assess() groundReport {
	g.mu.Lock()
	asked := append(without(g.managed, g.configured), g.configured...)
	broken := g.broken
	g.broken = nil
	g.mu.Unlock()
	s, err := g.port.Look(asked, g.source)
	if err != nil {
		// Not knowing is no reason to give the addresses up.
		g.log.Warn("the interface could not be looked at", "err", err)
		g.mu.Lock()
		g.broken = broken
		g.mu.Unlock()
		g.dialAt = time.Now().Add(redialAfter) // look again soon
		return g.told
	}
	if g.conn != nil && (g.conn == broken || s.Index != g.state.Index || s.Primary != g.state.Primary) {
		_ = g.conn.Close()
		g.conn = nil
	}
	g.state = s
	g.dialAt = time.Time{}
	switch {
	case !s.Exists:
		return groundReport{reason: ReasonNoInterface, detail: "no interface " + g.iface}
	case !s.Primary.IsValid():
		return groundReport{reason: ReasonNoAddress, detail: g.iface + " has no " + g.lacking() + " of its own"}
	}
	if g.conn == nil {
		// One that fails as soon as it is open is not opened in a circle.
		if next := g.opened.Add(redialAfter); broken != nil && time.Now().Before(next) {
			g.dialAt = next
			return groundReport{reason: ReasonSocket, detail: "the socket on " + g.iface + " failed"}
		}
		if err := g.open(s); err != nil {
			g.dialAt = time.Now().Add(redialAfter)
			return groundReport{reason: ReasonSocket, detail: err.Error()}
		}
	}
	r := groundReport{conn: g.conn, source: s.Primary}
	switch {
	case !s.AdminUp:
		r.reason, r.detail = ReasonLinkDown, g.iface+" is set down"
	case !s.Carrier:
		r.reason, r.detail = ReasonLinkDown, g.iface+" has no carrier"
	}
	return r
}

func (g *ground) open(s link.State) error {
	c, err := g.dial(g.iface, s.Index, s.Primary)
	if err != nil {
		return err
	}
	g.conn, g.state, g.opened = c, s, time.Now()
	return nil
}
