package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/cmd/internal/cached"
	"lvsd/cmd/internal/disk"
	"lvsd/config"
	"lvsd/vrrp/auth"
)

const (
	interval       = time.Second // between requests
	requestTimeout = 2 * time.Second
	// peerTimeout is how long a peer may be silent before it counts as unreachable.
	peerTimeout = 5 * time.Second
	// selfTTL is how long this director's own state is reused.
	selfTTL = 500 * time.Millisecond
	// maxClockDiff is the tolerated difference of clocks; authenticated adverts tolerate
	// 30 s.
	maxClockDiff = 5 * time.Second
)

// Options are what an exchange needs from its daemon.
type Options struct {
	Log *slog.Logger
	// LocalState returns this director's state, with the health of all its servers. It does not
	// block.
	LocalState func() State
	// Drain returns the state of a real server on this director.
	Drain func(ctx context.Context, service, realServer string) Drain
	// Edit edits this director's file and reloads; nil: never.
	Edit func(ctx context.Context, service, realServer string, change Edit) Edited
	// Wake reports that a level of a peer changed. It does not block.
	Wake func()
	// OnChange receives changes for the history. It does not block.
	OnChange func(Change)

	// Listen and Dial are the network; nil: the system's.
	Listen func(address string) (net.Listener, error)
	Dial   func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// Change is a change in a peer, for the history.
type Change struct {
	At       time.Time
	Peer     string
	From, To string // "up", "down", "configuration differs", …
	Reason   string
}

// Exchange is this director's side. Make one with New, make it a participant in
// starts and reloads by Read, and Run it.
type Exchange struct {
	o       Options
	setup   atomic.Pointer[setup] // nil: disabled
	peers   atomic.Pointer[[]Peer]
	kick    chan struct{} // the setup changed: send requests at once
	refused [refusals]atomic.Uint64
	logged  [refusals]atomic.Int64 // when each refusal was logged last, in Unix seconds

	// mu protects what follows: setup and callers.
	mu         sync.Mutex
	running    context.Context // nil before and after Run
	inProgress map[netip.Addr]int
	tasks      sync.WaitGroup

	state cached.Value[State]   // of this director
	known map[string]*knownPeer // belongs to the loop
}

// setup is the configuration of the exchange.
type setup struct {
	config.Exchange
	self         string
	keys         Keys
	listener     net.Listener
	maxDiffering map[server]time.Duration
}

// New makes an exchange. It starts nothing.
func New(o Options) *Exchange {
	if o.Listen == nil {
		o.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if o.Dial == nil {
		o.Dial = dial
	}
	return &Exchange{o: o, kick: make(chan struct{}, 1), inProgress: map[netip.Addr]int{}, known: map[string]*knownPeer{}}
}

// dial connects from the address by which the peer identifies this director.
func dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// Peers returns the other directors in the order of the file; none while the exchange
// is disabled. The slice must not be modified.
func (e *Exchange) Peers() []Peer {
	if p := e.peers.Load(); p != nil {
		return *p
	}
	return nil
}

// Refused returns, by reason, how many requests of others were refused.
func (e *Exchange) Refused() map[string]uint64 {
	counts := make(map[string]uint64, refusals-1)
	for r := Refusal(1); r < refusals; r++ {
		counts[r.String()] = e.refused[r].Load()
	}
	return counts
}

// Read reads the key file that a configuration names, and returns the exchange's part in
// a start or reload: an unreadable key file or a port in use rejects the configuration.
// Commit cannot fail.
func (e *Exchange) Read(next *config.Config) (prepare func() (commit, abort func(), err error)) {
	if next.Exchange == nil {
		return func() (commit, abort func(), err error) {
			old := e.setup.Load()
			return func() { e.install(old, nil) }, nil, nil
		}
	}
	file := next.Exchange.KeyFile
	keys, err := disk.Within(file, func() (auth.KeySet, error) { return auth.ReadKeys(file) })
	if err != nil {
		err = fmt.Errorf("%s: peers.key_file: %w", next.File, err)
		return func() (commit, abort func(), _ error) { return nil, nil, err }
	}
	return func() (commit, abort func(), err error) { return e.prepare(next, NewKeys(keys.First, keys.Keys)) }
}

func (e *Exchange) prepare(next *config.Config, keys Keys) (commit, abort func(), err error) {
	old := e.setup.Load()
	s := &setup{Exchange: *next.Exchange, self: next.Director, keys: keys, maxDiffering: differenceLimits(next)}
	if old != nil && old.Listen == s.Listen {
		s.listener = old.listener
		return func() { e.install(old, s) }, nil, nil
	}
	if s.listener, err = e.o.Listen(s.Listen); err != nil {
		return nil, nil, fmt.Errorf("%s: peers.listen: failed to listen: %w (choose an address of this host and a free port)", next.File, err)
	}
	return func() { e.install(old, s) }, func() { s.listener.Close() }, nil
}

// install replaces the setup.
func (e *Exchange) install(old, s *setup) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setup.Store(s)
	e.state.Expire()
	if old != nil && (s == nil || s.listener != old.listener) {
		old.listener.Close()
	}
	if s != nil && (old == nil || s.listener != old.listener) && e.running != nil {
		e.open(s.listener)
	}
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// open serves a listener until it closes. The lock is held.
func (e *Exchange) open(l net.Listener) {
	ctx := e.running
	e.tasks.Go(func() { e.accept(ctx, l) })
}

// Close closes the listener of an exchange that was never Run.
func (e *Exchange) Close() {
	if s := e.setup.Load(); s != nil {
		s.listener.Close()
	}
}

// Run sends and serves requests until the context ends.
func (e *Exchange) Run(ctx context.Context) error {
	e.mu.Lock()
	e.running = ctx
	if s := e.setup.Load(); s != nil {
		e.open(s.listener)
	}
	e.mu.Unlock()
	defer e.tasks.Wait()
	defer e.Close()
	defer func() {
		e.mu.Lock()
		e.running = nil
		e.mu.Unlock()
	}()
	timer, answers := time.NewTimer(0), make(chan result)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
			e.round(ctx, true, answers)
		case <-timer.C:
			e.round(ctx, false, answers)
			timer.Reset(interval)
		case a := <-answers:
			e.answer(ctx, a, answers)
		}
	}
}

// answer takes a response, and asks again where that is due: at once when it is for a
// setup that has ended.
func (e *Exchange) answer(ctx context.Context, a result, answers chan<- result) {
	a.peer.inFlight = false
	s := e.setup.Load()
	current := s != nil && e.known[a.peer.Name] == a.peer
	if current && s == a.setup {
		e.handle(a, time.Now())
	}
	if !current || s == a.setup && !a.peer.repeat {
		return
	}
	for _, p := range s.Peers {
		if p.Name == a.peer.Name {
			e.ask(ctx, s, p, false, answers)
		}
	}
}

// Refresh makes this director's state current in its next reply, and asks the peers for
// theirs at once. It waits for a reply that is being made.
func (e *Exchange) Refresh() {
	e.state.Expire()
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// self is this director's own state, at most selfTTL old.
func (e *Exchange) self() State {
	s, _ := e.state.Get(context.Background(), selfTTL, func(State) (State, error) { return e.o.LocalState(), nil })
	return s
}

// differenceLimits are how long the health of each server may differ: the checks of two
// directors start at different times, and each runs slow start by its own clock.
func differenceLimits(c *config.Config) map[server]time.Duration {
	all := map[server]time.Duration{}
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			longest := time.Duration(0)
			for _, k := range rs.Checks {
				longest = max(longest, time.Duration(max(k.Rise, k.Fall))*k.Interval+k.Timeout)
			}
			all[server{svc.Name, rs.Address.String()}] = longest + svc.SlowStart + 2*interval
		}
	}
	return all
}
