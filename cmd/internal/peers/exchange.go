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

	"lvsd/config"
	"lvsd/vrrp/auth"
)

const (
	interval = time.Second // from one question to the next
	patience = 2 * time.Second
	// lost is how long a peer may be silent before it counts as away.
	lost = 5 * time.Second
	// fresh is how long what this director says of itself is said again.
	fresh = 500 * time.Millisecond
	// clockBears is what the clocks may differ; adverts with a key bear 30 s.
	clockBears = 5 * time.Second
)

// Options are what an exchange needs of its daemon.
type Options struct {
	Log *slog.Logger
	// Own answers what this director says of itself, its Health with all servers. It
	// waits for nothing.
	Own func() State
	// Drain answers how this director stands to a real server.
	Drain func(ctx context.Context, service, realServer string) Drain
	// Wake tells whoever decides that a level of a peer changed. It never blocks.
	Wake func()
	// OnChange tells people. It never blocks.
	OnChange func(Change)

	// Listen and Dial are the network; nil: the real one.
	Listen func(address string) (net.Listener, error)
	Dial   func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// Change is something about a peer that changed, for the history.
type Change struct {
	At       time.Time
	Peer     string
	From, To string // "up", "down", "configuration differs", …
	Reason   string
}

// Exchange is this director's side. Make one with New, let it take part in start
// and reload by Prepare, and Run it.
type Exchange struct {
	o       Options
	setup   atomic.Pointer[setup] // nil: off
	peers   atomic.Pointer[[]Peer]
	kick    chan struct{} // the setup changed: ask at once
	refused [refusals]atomic.Uint64
	logged  [refusals]atomic.Int64 // when each refusal was logged last, unix seconds

	// mu guards what follows: start and reload, and the door.
	mu      sync.Mutex
	running context.Context // nil unless Run runs
	inside  map[netip.Addr]int
	tasks   sync.WaitGroup

	own struct {
		sync.Mutex
		at    time.Time
		state State
	}
	known map[string]*acquaintance // the loop's own
}

// setup is what a configuration makes of the exchange.
type setup struct {
	config.Pair
	self     string
	keys     Keys
	listener net.Listener
	bears    map[server]time.Duration
}

// New makes an exchange. It starts nothing.
func New(o Options) *Exchange {
	if o.Listen == nil {
		o.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if o.Dial == nil {
		o.Dial = dial
	}
	return &Exchange{o: o, kick: make(chan struct{}, 1), inside: map[netip.Addr]int{}, known: map[string]*acquaintance{}}
}

// dial calls from the address by which the peer knows this director.
func dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// Peers are the other directors as they are known now, in the order of the file;
// empty while the exchange is off. The slice is only to be read.
func (e *Exchange) Peers() []Peer {
	if p := e.peers.Load(); p != nil {
		return *p
	}
	return nil
}

// Refused counts, by reason, the questions of others that were not answered.
func (e *Exchange) Refused() map[string]uint64 {
	counts := make(map[string]uint64, refusals-1)
	for r := Refusal(1); r < refusals; r++ {
		counts[r.String()] = e.refused[r].Load()
	}
	return counts
}

// Prepare takes part in start and reload: a key file or a port that cannot be had
// refuses the configuration. Commit cannot fail.
func (e *Exchange) Prepare(next *config.Config) (commit, abort func(), err error) {
	old := e.setup.Load()
	if next.Pair == nil {
		return func() { e.take(old, nil) }, nil, nil
	}
	keys, err := auth.ReadKeys(next.Pair.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: pair.key_file: %w", next.File, err)
	}
	s := &setup{Pair: *next.Pair, self: next.Director, keys: NewKeys(keys.First, keys.Keys), bears: bears(next)}
	if old != nil && old.Listen == s.Listen {
		s.listener = old.listener
		return func() { e.take(old, s) }, nil, nil
	}
	if s.listener, err = e.o.Listen(s.Listen); err != nil {
		return nil, nil, fmt.Errorf("%s: pair.listen: failed to listen: %w (choose an address of this host and a free port)", next.File, err)
	}
	return func() { e.take(old, s) }, func() { s.listener.Close() }, nil
}

// take makes a setup the one that counts.
func (e *Exchange) take(old, s *setup) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setup.Store(s)
	e.own.Lock()
	e.own.at = time.Time{}
	e.own.Unlock()
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

// open answers on a listener until it closes. The lock is held.
func (e *Exchange) open(l net.Listener) {
	ctx := e.running
	e.tasks.Go(func() { e.accept(ctx, l) })
}

// Close closes the port of an exchange that was never Run.
func (e *Exchange) Close() {
	if s := e.setup.Load(); s != nil {
		s.listener.Close()
	}
}

// Run asks and answers until the context ends.
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
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
		case <-timer.C:
		}
		e.round(ctx)
		timer.Reset(interval)
	}
}

// myself is what this director says of itself, at most half a second old.
func (e *Exchange) myself() State {
	e.own.Lock()
	defer e.own.Unlock()
	if now := time.Now(); e.own.at.IsZero() || now.Sub(e.own.at) >= fresh {
		e.own.state, e.own.at = e.o.Own(), now
	}
	return e.own.state
}

// bears is how long two directors may see each server otherwise: their checks
// begin at different times, and each ramps a server up by its own clock.
func bears(c *config.Config) map[server]time.Duration {
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
