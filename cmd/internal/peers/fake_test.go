package peers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/config"
)

// lan is a network between directors made of channels only, so that the bubble's time
// stands still during a conversation.
type lan struct {
	mu       sync.Mutex
	ports    map[netip.AddrPort]*port
	silenced map[netip.Addr]bool
	// between, when set, is an attacker on the wire: it gets the caller's end of a
	// connection and returns the one that the caller uses.
	between func(callee net.Conn) net.Conn
}

func newLAN() *lan {
	return &lan{ports: map[netip.AddrPort]*port{}, silenced: map[netip.Addr]bool{}}
}

type port struct {
	lan   *lan
	at    netip.AddrPort
	calls chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.lan.mu.Lock()
		defer p.lan.mu.Unlock()
		if p.lan.ports[p.at] == p {
			delete(p.lan.ports, p.at)
		}
	})
	return nil
}

func (p *port) Addr() net.Addr { return net.TCPAddrFromAddrPort(p.at) }

// end is one end of a call, with the address of the other.
type end struct {
	net.Conn
	remote net.Addr
}

func (e end) RemoteAddr() net.Addr { return e.remote }

func (l *lan) listen(host netip.Addr) func(string) (net.Listener, error) {
	return func(address string) (net.Listener, error) {
		_, number, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		at := netip.MustParseAddrPort(net.JoinHostPort(host.String(), number))
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ports[at] != nil {
			return nil, syscall.EADDRINUSE
		}
		p := &port{lan: l, at: at, calls: make(chan net.Conn), done: make(chan struct{})}
		l.ports[at] = p
		return p, nil
	}
}

func (l *lan) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	l.mu.Lock()
	p, silent, between := l.ports[to], l.silenced[from] || l.silenced[to.Addr()], l.between
	l.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if p == nil {
		return nil, syscall.ECONNREFUSED
	}
	caller, callee := net.Pipe()
	select {
	case p.calls <- end{callee, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))}:
	case <-p.done:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if between != nil {
		return between(caller), nil
	}
	return caller, nil
}

func (l *lan) silence(host netip.Addr, silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silenced[host] = silent
}

// side is one director of the tests.
type side struct {
	*Exchange
	t       testing.TB
	name    string
	address netip.Addr
	key     string // its key file
	config  *config.Config

	mu      sync.Mutex
	own     State
	changes []string
	wakes   int
}

var addresses = map[string]netip.Addr{
	"lb1": netip.MustParseAddr("10.0.0.12"), "lb2": netip.MustParseAddr("10.0.0.13"), "lb3": netip.MustParseAddr("10.0.0.14"),
}

const goodKey = "1 0123456789abcdef\n"

// newSide makes a director of a pair, or of more.
func newSide(t testing.TB, l *lan, name, key string, others ...string) *side {
	s := &side{t: t, name: name, address: addresses[name], key: filepath.Join(t.TempDir(), "key")}
	s.writeKey(key)
	p := &config.Exchange{Listen: ":8113", KeyFile: s.key, Address: s.address}
	for _, o := range others {
		p.Peers = append(p.Peers, config.Peer{Name: o, Address: netip.AddrPortFrom(addresses[o], 8113)})
	}
	real := config.RealServer{Address: netip.MustParseAddrPort("10.0.0.9:80"), Weight: 1, Checks: []config.Check{{CheckSettings: &config.CheckSettings{Rise: 2, Fall: 3, Interval: 2 * time.Second, Timeout: time.Second}}}}
	s.config = &config.Config{Director: name, File: "lvsd.toml", Exchange: p, Services: []config.Service{{Name: "web", RealServers: []config.RealServer{real}}}}
	s.own = State{Director: name, Version: "1", Hash: "abc", Health: health("up", 1)}
	s.Exchange = New(Options{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		LocalState: func() State {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.own
		},
		Drain: func(_ context.Context, service, real string) Drain {
			return Drain{Found: service == "web", Active: 7}
		},
		Wake: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wakes++
		},
		OnChange: func(c Change) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes = append(s.changes, fmt.Sprintf("%s %s>%s", c.Peer, c.From, c.To))
		},
		Listen: l.listen(s.address), Dial: l.dial,
	})
	s.reload()
	return s
}

func health(state string, weight int) Health {
	return NewHealth([]ServiceHealth{{Name: "web", Up: state == "up", Servers: []ServerHealth{{Address: "10.0.0.9:80", Health: state, Weight: weight}}}})
}

func (s *side) writeKey(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.key, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) reload() {
	s.t.Helper()
	commit, _, err := s.Read(s.config)()
	if err != nil {
		s.t.Fatal(err)
	}
	commit()
}

// become changes the director's own state.
func (s *side) become(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.own)
}

// takeChanges returns the changes reported since the last time.
func (s *side) takeChanges() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := s.changes
	s.changes = nil
	return changes
}

func (s *side) wantChanges(want ...string) {
	s.t.Helper()
	if got := s.takeChanges(); !slices.Equal(got, want) {
		s.t.Errorf("%s reported %q, want %q", s.name, got, want)
	}
}

func (s *side) peer() Peer { return s.Peers()[0] }

// run runs the sides until the test's bubble ends.
func run(t *testing.T, sides ...*side) {
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for _, s := range sides {
		tasks.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
}

// after advances the time, and waits until all effects have ended.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
