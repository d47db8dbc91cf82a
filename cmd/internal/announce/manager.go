package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lvsd/cmd/internal/reload"
	"lvsd/config"
)

const (
	retryAfter = time.Second // after a change that failed
	// gatherDelay is the shortest time between two comparisons.
	gatherDelay = 10 * time.Millisecond
	// resync is the time between comparisons without a notification, and resyncShare what
	// reading takes of it at most, in percent: the dump has all routes of the host, of
	// which a router may have a million.
	resync      = 10 * time.Second
	resyncShare = 1
)

// Desired is what the routing tables should have of ours.
type Desired struct {
	Announces []Announce
	// Linger is how long the host still accepts an address that left Announces: routers
	// continue to send to it for a moment.
	Linger time.Duration
}

// Announce is one announcement.
type Announce struct {
	Name      string
	Addresses []netip.Addr // accepted by this host
	Table     int
	Announced bool   // Addresses have a route in Table
	Metric    uint32 // of these routes
	// Daemon is the control socket of the routing daemon; "": BIRD's or FRR's usual one.
	Daemon string
}

// Snapshot is the state of the routes at one moment.
type Snapshot struct {
	// Generation is that of the last desired state that the kernel has in full.
	Generation uint64
	// Present are our routes by table and address.
	Present map[Key]Route
	// Errors are the changes that failed and are tried again.
	Errors []string
	// Foreign are the routes of others in the tables of announcements.
	Foreign []ForeignRoute
	// OnInterface are the announced addresses that an interface has too.
	OnInterface []netip.Addr
	// Repairs counts the routes that another process removed or changed, and that were
	// restored, since the start.
	Repairs uint64
	// Daemons reports whether routing daemons run, by Announce.Daemon; those that are not
	// known have no entry.
	Daemons map[string]bool
}

// Key identifies a route apart from its metric.
type Key struct {
	Table   int
	Address netip.Addr
}

// Manager keeps the routes. Make one with New, Set the desired state, and Run it.
type Manager struct {
	log     *slog.Logger
	open    func() (Kernel, error)
	changed func()
	daemons *daemonWatch

	snapshot atomic.Pointer[Snapshot]
	work     chan struct{}

	mu         sync.Mutex
	desired    Desired
	generation uint64
	published  chan struct{} // closed and replaced at each snapshot
	kernel     Kernel        // nil until it is needed
	watched    map[int]bool  // tables whose changes matter

	// The rest belongs to the pass that runs, under pass.
	pass    sync.Mutex
	linger  map[Route]time.Time // routes of addresses that left, and until when they stay
	had     map[Route]bool      // ours after the last pass
	repairs uint64
	logged  map[string]bool // present problems that were logged
	swept   bool            // what an earlier run left was looked for
}

// New makes a manager that opens the kernel when it is first needed. changed is called
// when the state changed; it must not block.
func New(log *slog.Logger, open func() (Kernel, error), changed func()) *Manager {
	return &Manager{log: log, open: open, changed: changed, daemons: newDaemonWatch(changed), work: make(chan struct{}, 1), published: make(chan struct{}),
		linger: map[Route]time.Time{}, had: map[Route]bool{}}
}

// Set replaces the desired state and returns its generation. It does not block.
func (m *Manager) Set(d Desired) uint64 {
	m.mu.Lock()
	m.desired = d
	m.generation++
	m.watched = map[int]bool{anyTable: true, localTable: true}
	for _, a := range d.Announces {
		m.watched[a.Table] = true
	}
	generation := m.generation
	m.mu.Unlock()
	m.daemons.set(d.Announces)
	m.notify()
	return generation
}

func (m *Manager) notify() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

// Wait returns when the kernel has a desired state of at least that generation, or when
// the context ends.
func (m *Manager) Wait(ctx context.Context, generation uint64) error {
	for {
		m.mu.Lock()
		published := m.published
		m.mu.Unlock()
		if m.Snapshot().Generation >= generation {
			return nil
		}
		select {
		case <-published:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Snapshot returns the newest state.
func (m *Manager) Snapshot() (s Snapshot) {
	if p := m.snapshot.Load(); p != nil {
		s = *p
	}
	s.Daemons = m.daemons.state()
	return s
}

// Run keeps the routes in the desired state until the context ends. The routes stay.
func (m *Manager) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { m.daemons.run(ctx) })
	var stop func()
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.work:
		case <-timer.C:
		}
		next := m.reconcile(time.Now())
		switch k := m.opened(); {
		case k == nil && stop != nil: // without announcements, the host's routes are not ours to follow
			stop()
			stop = nil
		case k != nil && stop == nil:
			stop = m.watch(k)
		}
		timer.Reset(next)
		// Notifications of one change of another process arrive together.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gatherDelay):
		}
	}
}

// opened is the kernel where it is in use, or nil.
func (m *Manager) opened() Kernel {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kernel
}

// watch subscribes to changes; nil where that failed.
func (m *Manager) watch(k Kernel) (stop func()) {
	stop, err := k.Watch(func(table int) {
		m.mu.Lock()
		matters := m.watched[table]
		m.mu.Unlock()
		if matters {
			m.notify()
		}
	})
	if err != nil {
		m.log.Debug("routes are compared every 10 s only", "reason", err)
		return nil
	}
	m.notify() // what changed before
	return stop
}

// kernelFor opens the kernel where something is desired.
func (m *Manager) kernelFor(needed bool) (Kernel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kernel == nil && needed {
		k, err := m.open()
		if err != nil {
			return nil, err
		}
		m.kernel = k
	}
	return m.kernel, nil
}

// reconcile does one pass, and returns when the next one is due.
func (m *Manager) reconcile(now time.Time) (next time.Duration) {
	m.pass.Lock()
	defer m.pass.Unlock()
	m.mu.Lock()
	d, generation := m.desired, m.generation
	m.mu.Unlock()
	if generation == 0 {
		return resync // nothing is decided yet: what a crashed run left stays
	}
	used := len(d.Announces) > 0
	k, err := m.kernelFor(used || !m.swept)
	switch {
	case err != nil && used:
		m.publish(Snapshot{Errors: []string{err.Error()}}, generation, false)
		return retryAfter
	case k == nil:
		m.publish(Snapshot{}, generation, true)
		return resync
	}
	p := pass{manager: m, kernel: k, now: now, problems: map[string]bool{}}
	s, complete := p.run(d)
	m.logged = p.problems
	if m.swept = true; !used && len(m.had) == 0 {
		m.Close()
	}
	m.publish(s, generation, complete)
	if !complete {
		return retryAfter
	}
	return p.next
}

// publish publishes a state; complete: the kernel has all of it.
func (m *Manager) publish(s Snapshot, generation uint64, complete bool) {
	before := m.Snapshot()
	s.Repairs = m.repairs
	s.Generation = before.Generation
	if complete {
		s.Generation = generation
	}
	m.snapshot.Store(&s)
	m.mu.Lock()
	close(m.published)
	m.published = make(chan struct{})
	m.mu.Unlock()
	if s.Generation != before.Generation || s.Repairs != before.Repairs || !maps.Equal(s.Present, before.Present) ||
		!slices.Equal(s.Errors, before.Errors) || !slices.Equal(s.Foreign, before.Foreign) || !slices.Equal(s.OnInterface, before.OnInterface) {
		m.changed()
	}
}

// pass is one comparison of the desired state with the kernel.
type pass struct {
	manager *Manager
	kernel  Kernel
	now     time.Time
	next    time.Duration
	errs    []string
	// problems are those of this pass, each of which is logged when it begins.
	problems map[string]bool
}

func (p *pass) problem(message, reason string) {
	if p.problems[message+reason] = true; !p.manager.logged[message+reason] {
		p.manager.log.Warn(message, "reason", reason)
	}
}

// run brings the kernel to the desired state. Routes leave the announced tables first and
// the table local last, and are added in the opposite order: an address is never announced
// while this host does not accept it.
func (p *pass) run(d Desired) (s Snapshot, complete bool) {
	m := p.manager
	want, tables := map[Route]bool{}, []int{}
	for _, a := range d.Announces {
		if !slices.Contains(tables, a.Table) {
			tables = append(tables, a.Table)
		}
		for _, address := range a.Addresses {
			want[local(address)] = true
			if a.Announced {
				want[announced(a.Table, address, a.Metric)] = true
			}
		}
	}
	began := time.Now()
	reading, err := p.kernel.Read(append(tables, localTable))
	p.next = max(resync, time.Since(began)*100/resyncShare)
	if err != nil {
		s.Errors = []string{err.Error()}
		return s, false
	}
	have := map[Route]bool{}
	for _, r := range reading.Ours {
		have[r] = true
	}
	p.reportRepairs(want, have)
	for _, r := range sorted(have, false) {
		if !want[r] && !p.lingers(r, d.Linger) && p.apply(p.kernel.Delete, r, "remove", syscall.ESRCH) {
			delete(have, r)
		}
	}
	refused := map[netip.Addr]bool{}
	for _, r := range sorted(want, true) {
		delete(m.linger, r)
		switch {
		case have[r]:
		case refused[r.Prefix.Addr()]: // not accepted here, so not announced
		case p.apply(p.kernel.Add, r, "add", nil):
			have[r] = true
		case r.isLocal():
			refused[r.Prefix.Addr()] = true
		}
	}
	m.had = have
	s.Present, s.Errors = map[Key]Route{}, p.errs
	for r := range have {
		s.Present[Key{r.Table, r.Prefix.Addr()}] = r
	}
	for _, f := range reading.Foreign {
		switch a := f.Prefix.Addr(); {
		case !f.isLocal():
			s.Foreign = append(s.Foreign, f)
			p.problem("another process has a route in the routing table of an announcement", fmt.Sprintf("%v protocol %d", f.Route, f.Protocol))
		case have[local(a)] && f.Prefix.IsSingleIP() && !slices.Contains(s.OnInterface, a):
			s.OnInterface = append(s.OnInterface, a)
			p.problem("an interface has an announced address, which FRR then does not announce: remove it there", a.String())
		}
	}
	slices.SortFunc(s.OnInterface, netip.Addr.Compare)
	return s, len(p.errs) == 0
}

// sorted returns routes in order, those of table local first or last.
func sorted(set map[Route]bool, localFirst bool) []Route {
	return slices.SortedFunc(maps.Keys(set), func(a, b Route) int {
		if a.isLocal() != b.isLocal() {
			if a.isLocal() == localFirst {
				return -1
			}
			return 1
		}
		return a.compare(b)
	})
}

// reportRepairs counts and logs what another process removed since the last pass.
func (p *pass) reportRepairs(want, have map[Route]bool) {
	m := p.manager
	for r := range m.had {
		if want[r] && !have[r] {
			m.repairs++
			m.log.Warn("another process removed a route of an announcement: restored", "route", r.String())
		}
	}
}

// lingers reports whether a route of table local stays for a while.
func (p *pass) lingers(r Route, linger time.Duration) bool {
	if !r.isLocal() || linger == 0 {
		return false
	}
	until, known := p.manager.linger[r]
	if !known {
		until = p.now.Add(linger)
		p.manager.linger[r] = until
	}
	if left := until.Sub(p.now); left > 0 {
		p.next = min(p.next, left)
		return true
	}
	delete(p.manager.linger, r)
	return false
}

// apply does one change and records its error; done is an errno that means that there is
// nothing to do.
func (p *pass) apply(change func(Route) error, r Route, verb string, done error) bool {
	err := change(r)
	if err == nil || done != nil && errors.Is(err, done) {
		return true
	}
	text := fmt.Sprintf("failed to %s the route %v: %v", verb, r, err)
	if verb == "add" && errors.Is(err, syscall.EEXIST) {
		text = fmt.Sprintf("failed to add the route %v: another process has one to the same address there (ip route show table %d); remove it", r, r.Table)
		if r.isLocal() {
			text = fmt.Sprintf("failed to accept packets to %v: it is an address of an interface; remove it there, as an [[announce]] does not need it", r.Prefix.Addr())
		}
	}
	p.errs = append(p.errs, text)
	p.problem("a route of an announcement could not be changed", text)
	return false
}

// Close closes the kernel. The routes stay.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kernel != nil {
		m.kernel.Close()
		m.kernel = nil
	}
}

// Remove removes all routes of ours, at the end of a stop. It may be called after Run
// returned.
func (m *Manager) Remove() error {
	m.mu.Lock()
	m.desired, m.generation = Desired{}, m.generation+1
	used := m.kernel != nil
	m.mu.Unlock()
	if !used {
		return nil
	}
	m.reconcile(time.Now())
	if errs := m.Snapshot().Errors; len(errs) > 0 {
		return errors.New(errs[0])
	}
	return nil
}

// Prepare is the manager's part in a start or a reload: it refuses addresses that an
// interface has, unless a VRRP instance of the running configuration brings them and ends
// with it, and tables in which another process has a route to such an address.
func (m *Manager) Prepare(old, next *config.Config) (reload.Change, error) {
	if len(next.Announces) == 0 {
		return reload.Change{}, nil
	}
	known := map[netip.Addr]bool{}
	if old != nil {
		for _, a := range old.Announces {
			for _, address := range a.Addresses {
				known[address] = true
			}
		}
		for _, i := range old.Instances {
			for _, p := range slices.Concat(i.Addresses, i.ExcludedAddresses) {
				known[p.Addr()] = true
			}
		}
	}
	m.pass.Lock() // a pass closes a kernel that is not in use
	defer m.pass.Unlock()
	k, err := m.kernelFor(true)
	if err != nil {
		return reload.Change{}, err
	}
	addresses, err := k.Addresses()
	if err != nil {
		return reload.Change{}, err
	}
	var errs []error
	for _, a := range next.Announces {
		reading, err := k.Read([]int{a.Table})
		if err != nil {
			return reload.Change{}, err
		}
		for _, address := range a.Addresses {
			if iface, on := addresses[address]; on && !known[address] {
				errs = append(errs, fmt.Errorf("%s:%d:%d: announce %s: %s is an address of %s: remove it there, lvsd makes this host accept it by a route in table local", next.File, a.Line, a.Col, a.Name, address, iface))
			}
			for _, f := range reading.Foreign {
				if f.Prefix == netip.PrefixFrom(address, address.BitLen()) {
					errs = append(errs, fmt.Errorf("%s:%d:%d: announce %s: another process has a route to %s in table %d (protocol %d): remove it, or choose another table", next.File, a.Line, a.Col, a.Name, address, a.Table, f.Protocol))
				}
			}
		}
	}
	return reload.Change{}, errors.Join(errs...)
}

// Adopted returns the routes of ours in the tables of announcements, which a crashed run
// may have left; none where they cannot be read.
func (m *Manager) Adopted() map[Key]Route {
	m.pass.Lock()
	defer m.pass.Unlock()
	k, err := m.kernelFor(false)
	if err != nil || k == nil {
		return nil
	}
	reading, err := k.Read(nil)
	if err != nil {
		return nil
	}
	all := map[Key]Route{}
	for _, r := range reading.Ours {
		if !r.isLocal() {
			all[Key{r.Table, r.Prefix.Addr()}] = r
		}
	}
	return all
}

// Sweep removes all routes of ours that a crashed run left: first those that are announced
// and, after wait, which gives routers time, those by which this host accepts their
// addresses. It returns the addresses. With dryRun it only returns them.
func Sweep(k Kernel, dryRun bool, wait time.Duration) (addresses []netip.Addr, err error) {
	reading, err := k.Read(nil)
	if err != nil {
		return nil, err
	}
	ours := map[Route]bool{}
	withdrawn := false
	for _, r := range reading.Ours {
		ours[r] = true
		if !slices.Contains(addresses, r.Prefix.Addr()) {
			addresses = append(addresses, r.Prefix.Addr())
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	if dryRun {
		return addresses, nil
	}
	var errs []error
	for _, r := range sorted(ours, false) {
		if r.isLocal() && withdrawn {
			time.Sleep(wait) // once: routers still send to the addresses
			withdrawn = false
		}
		if err := k.Delete(r); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("failed to remove the route %v: %w", r, err))
		}
		withdrawn = withdrawn || !r.isLocal()
	}
	return addresses, errors.Join(errs...)
}
