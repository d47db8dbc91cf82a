package connsync

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"lvsd/ipvs"
)

// Receiver hears the messages of the connection synchronisation, beside the
// kernel's own receiver, which tells nobody of those that it does not take. It
// takes samples: one message a second, whatever the stream, through a buffer
// that holds no more. While nothing comes it looks whether it goes elsewhere. It
// sends nothing.
type Receiver struct {
	log    *slog.Logger
	config func() *ipvs.SyncConfig

	mu       sync.Mutex
	received Received
	own      *ipvs.SyncConfig // what is listened for
}

// NewReceiver starts nothing; Run does. Config is what the synchronisation is
// to be at the moment, nil for none.
func NewReceiver(log *slog.Logger, config func() *ipvs.SyncConfig) *Receiver {
	return &Receiver{log: log, config: config}
}

const (
	sampleEvery = time.Second
	readSize    = 2048 // a message, and what the kernel adds to it
)

// Received is what was heard lately.
func (l *Receiver) Received() Received {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received
}

// Problems is what somebody must do about it.
func (l *Receiver) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.received.Problem(l.own, time.Now()); p != "" {
		return []string{p}
	}
	return nil
}

// Run listens as the configuration says until ctx ends, and returns nil.
func (l *Receiver) Run(ctx context.Context) error {
	var have *ipvs.SyncConfig
	var conn *net.UDPConn
	var look captureTurn
	defer func() {
		look.end()
		if conn != nil {
			conn.Close()
		}
	}()
	mismatch := false
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if want := l.config(); !want.Equal(have) || want != nil && conn == nil {
			if conn != nil {
				conn.Close()
				conn = nil
			}
			have = want
			conn = l.open(want)
			look.end()
			look = newCaptureTurn()
		}
		if conn != nil {
			l.sample(conn, have.ID)
			l.captureStep(&look, have, time.Now())
		}
		if now := l.Received().Mismatch(time.Now()); now != mismatch {
			mismatch = now
			l.logMismatch(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// captureTurn is the present or the next look for messages that come another way.
type captureTurn struct {
	began  time.Time // when the present configuration was listened for first
	at     time.Time // when the look began, or the next one may while all is silent
	last   time.Time // when the last one ended: the first silence after it may be looked at
	socket *capture
}

func newCaptureTurn() captureTurn { now := time.Now(); return captureTurn{began: now, at: now} }

func (k *captureTurn) end() {
	if k.socket != nil {
		k.socket.close()
		k.socket = nil
	}
}

// captureStep begins a look when one is due, takes up what it saw, and ends it.
// Where it cannot be had (no CAP_NET_RAW), it is left out: what it would find is
// more than the kernel or its tools ever tell.
func (l *Receiver) captureStep(k *captureTurn, c *ipvs.SyncConfig, now time.Time) {
	if k.socket == nil {
		h := l.Received()
		if now.Before(k.at) && !h.At.After(k.last) && !h.misdirected(now) || !h.silent(k.began, now) {
			return
		}
		if k.socket, _ = openCapture(c.Interface); k.socket == nil {
			k.at = now.Add(captureEvery)
			return
		}
		k.at = now
		return
	}
	strays := k.socket.heard()
	l.mu.Lock()
	for _, s := range strays {
		l.received = l.received.addMisdirected(c, s, now)
	}
	l.mu.Unlock()
	if now.Sub(k.at) >= captureFor {
		k.end()
		k.at, k.last = k.at.Add(captureEvery), now
	}
}

func (l *Receiver) logMismatch(mismatch bool) {
	if !mismatch {
		l.log.Info("connection synchronisation: the peer's connections are taken again, or none arrive")
		return
	}
	for _, p := range l.Problems() {
		l.log.Warn(p)
	}
}

// open joins the group that the kernel's receiver is in. What was heard before
// under another configuration is forgotten.
func (l *Receiver) open(c *ipvs.SyncConfig) *net.UDPConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.received.Error
	l.received, l.own = Received{}, nil
	if c == nil {
		return nil
	}
	l.own = c
	conn, err := listen(c)
	if err != nil {
		if l.received.Error = err.Error(); failed != l.received.Error {
			l.log.Warn("cannot listen for the peer's connections, will be tried again", "reason", err)
		}
		return nil
	}
	l.received.Listening = true
	return conn
}

func listen(c *ipvs.SyncConfig) (*net.UDPConn, error) {
	device, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenMulticastUDP("udp", device, net.UDPAddrFromAddrPort(c.Destination()))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(readSize) // more would only be read to be thrown away
	return conn, nil
}

// sample takes what lies in the buffer, which is a message or two.
func (l *Receiver) sample(conn *net.UDPConn, own uint8) {
	buf := make([]byte, 16)
	// What is not there already is not waited for.
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return
	}
	for range 8 {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if m, ok := parseMessageHead(buf[:n]); ok {
			l.mu.Lock()
			l.received = l.received.add(own, from.Addr().Unmap(), m, time.Now())
			l.mu.Unlock()
		}
	}
}
