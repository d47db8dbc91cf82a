package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"lvsd/vrrp/link"
	"lvsd/vrrp/wire"
)

// A lan joins fake interfaces. All its channels are made in the bubble of a test.
type lan struct {
	mu    sync.Mutex
	hosts []*host
	delay time.Duration
}

// A host is the fake of a conn and of a port: one interface on a lan.
type host struct {
	lan    *lan
	source netip.Addr

	mu          sync.Mutex
	state       link.State
	addrs       []netip.Prefix
	changed     func()
	conns       []*fakeConn
	announced   []announcement
	failAdd     error
	failSend    error
	failDial    error
	failLook    error
	slow        chan struct{} // not nil: Set waits for it
	sets        int
	quiet       bool // the last Set was
	extraRoutes link.ExtraRoutes
	gone        []string // what the next Move restores
	moves       []string // "true with 2": with how many addresses there
	failMove    error
	closed      bool
	guarded     []netip.Addr
	found       func(link.Sighting)
	placed      map[netip.Addr]string // interfaces of addresses
	probes      []time.Time
}

type announcement struct {
	at   time.Time
	addr netip.Addr
}

func (l *lan) host(source netip.Addr) *host {
	h := &host{lan: l, source: source, state: link.State{Exists: true, Index: 2, AdminUp: true, Carrier: true, Primary: source}}
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	return h
}

// engine makes an instance on the host.
func (h *host) engine(t *testing.T, o Options, change ...func(*Config)) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cfg := config(change...)
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	key, err := cfg.Authentication.read()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(cfg, key, o, h, h.dial)
	if err := e.worker.prepare(); err != nil {
		t.Fatal(err)
	}
	return e
}

func (h *host) dial(_ string, index int, source netip.Addr) (conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failDial != nil {
		return nil, h.failDial
	}
	c := &fakeConn{host: h, source: source, in: make(chan wire.Packet, fakeQueue), done: make(chan struct{})}
	h.conns = append(h.conns, c)
	return c, nil
}

// set changes the state as the kernel would, and reports it.
func (h *host) set(change func(*link.State)) {
	h.mu.Lock()
	change(&h.state)
	changed := h.changed
	h.mu.Unlock()
	if changed != nil {
		changed()
	}
}

func (h *host) fail(where *error, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*where = err
}

func (h *host) holds() []netip.Prefix {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.addrs)
}

// take removes an address without the instance.
func (h *host) take(p netip.Prefix) {
	h.mu.Lock()
	h.addrs = subtract(h.addrs, []netip.Prefix{p})
	h.mu.Unlock()
	h.set(func(*link.State) {})
}

func (h *host) announcements() []announcement {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.announced)
}

// The port.

func (h *host) State(ours []netip.Prefix, source netip.Addr, _ bool) (link.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.state
	s.Present = intersect(ours, h.addrs)
	return s, h.failLook
}

func (h *host) SetAddresses(ours, want []netip.Prefix, quiet bool) (held, added []netip.Prefix, err error) {
	h.mu.Lock()
	slow := h.slow
	h.mu.Unlock()
	if slow != nil {
		<-slow
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sets++
	h.quiet = quiet
	added = subtract(want, h.addrs)
	if h.failAdd != nil && len(added) > 0 {
		return intersect(want, h.addrs), nil, h.failAdd
	}
	h.addrs = append(subtract(h.addrs, ours), want...)
	return slices.Clone(want), added, nil
}

func (h *host) SetRoutes(a link.ExtraRoutes, there bool) (restored []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failMove != nil && there && !a.Empty() {
		return nil, h.failMove
	}
	h.moves = append(h.moves, fmt.Sprint(there, " with ", len(h.addrs)))
	if !there {
		a = link.ExtraRoutes{}
	}
	if h.extraRoutes.Empty() != a.Empty() || !h.extraRoutes.Equal(a) {
		h.extraRoutes = a
	}
	restored, h.gone = h.gone, nil
	return restored, nil
}

func (h *host) Announce(addrs []netip.Addr) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range addrs {
		h.announced = append(h.announced, announcement{time.Now(), a})
	}
	return 2 * len(addrs), nil
}

func (h *host) Guard(addrs []netip.Addr, found func(link.Sighting)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guarded, h.found = slices.Clone(addrs), found
	return nil
}

func (h *host) Probe(addrs []netip.Addr, _ netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range addrs {
		h.probes = append(h.probes, time.Now())
	}
	return nil
}

// sight reports another host that uses an address, if the host listens.
func (h *host) sight(s link.Sighting) {
	h.mu.Lock()
	s.Interface = "eth0"
	found := h.found
	if !slices.Contains(h.guarded, s.Address) {
		found = nil
	}
	h.mu.Unlock()
	if found != nil {
		found(s)
	}
}

func (h *host) SetInterfaces(on map[netip.Addr]string) {
	h.mu.Lock()
	h.placed = on
	h.mu.Unlock()
}

func (h *host) Watch(ctx context.Context, changed func()) {
	h.mu.Lock()
	h.changed = changed
	h.mu.Unlock()
	<-ctx.Done()
}

func (h *host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return nil
}

// fakeQueue is how many packets a fakeConn keeps while the receiver pauses. The socket's
// queue keeps about 10,000.
const fakeQueue = 2048

// fakeConn is the fake socket.
type fakeConn struct {
	host   *host
	source netip.Addr
	in     chan wire.Packet
	done   chan struct{}
	once   sync.Once
}

func (c *fakeConn) Receive(buf []byte, wait bool) (wire.Packet, error) {
	if !wait && len(c.in) == 0 {
		select {
		case <-c.done:
			return wire.Packet{}, os.ErrClosed
		default:
			return wire.Packet{}, wire.ErrEmpty
		}
	}
	select {
	case p, ok := <-c.in:
		if !ok {
			return wire.Packet{}, errors.New("the socket is broken")
		}
		return p, nil
	case <-c.done:
		return wire.Packet{}, os.ErrClosed
	}
}

func (c *fakeConn) Send(to netip.Addr, message []byte) error {
	c.host.mu.Lock()
	err, carrier := c.host.failSend, c.host.state.Carrier
	c.host.mu.Unlock()
	if err != nil || !carrier {
		return err
	}
	p := wire.Packet{Source: c.source, Destination: to, TTL: 255, Payload: slices.Clone(message)}
	c.host.lan.send(c.host, p)
	return nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// send delivers a packet to every host but the sender, after the delay of the lan.
func (l *lan) send(from *host, p wire.Packet) {
	l.mu.Lock()
	hosts, delay := slices.Clone(l.hosts), l.delay
	l.mu.Unlock()
	give := func() {
		for _, h := range hosts {
			if h != from && (p.Destination.IsMulticast() || p.Destination == h.source) {
				h.get(p)
			}
		}
	}
	if delay == 0 {
		give()
		return
	}
	time.AfterFunc(delay, give)
}

func (h *host) get(p wire.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.state.Carrier || len(h.conns) == 0 {
		return
	}
	select {
	case h.conns[len(h.conns)-1].in <- p:
	default: // as the kernel drops what does not fit
	}
}

// script sends an advert from nowhere.
func (l *lan) script(from netip.Addr, a Advert) {
	l.send(nil, wire.Packet{Source: from, Destination: multicastIPv4, TTL: 255, Payload: a.Append(nil, from, multicastIPv4)})
}

func advertOf(priority uint8) Advert {
	return Advert{VRID: 51, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{vip.Addr()}}
}
