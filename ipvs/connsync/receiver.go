// The receiver samples the peer's messages beside the kernel's sync backup, which does
// not report the messages that it ignores.

package connsync

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"lvsd/ipvs"
)

const (
	sampleInterval = time.Second
	readSize       = 2048 // a message and the kernel's overhead
)

// Receiver receives samples of the connection synchronisation: about one message per
// second, whatever their rate, through a buffer that holds no more. While none arrive
// it captures messages that go elsewhere. It sends nothing.
type Receiver struct {
	log    *slog.Logger
	config func() *ipvs.SyncConfig

	mu       sync.Mutex
	received Received
	own      *ipvs.SyncConfig // present configuration
}

// NewReceiver returns a receiver that does nothing until Run. config returns the
// present configuration, nil for none.
func NewReceiver(log *slog.Logger, config func() *ipvs.SyncConfig) *Receiver {
	return &Receiver{log: log, config: config}
}

// Received returns what was received recently.
func (r *Receiver) Received() Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

// Problems returns what an operator should correct; it is empty if all is well.
func (r *Receiver) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.received.Problem(r.own, time.Now()); p != "" {
		return []string{p}
	}
	return nil
}

// Run receives as configured until ctx ends, and returns nil.
func (r *Receiver) Run(ctx context.Context) error {
	var have *ipvs.SyncConfig
	var conn *net.UDPConn
	var turn captureTurn
	defer func() {
		turn.end()
		if conn != nil {
			conn.Close()
		}
	}()
	mismatch := false
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		if want := r.config(); !want.Equal(have) || want != nil && conn == nil {
			if conn != nil {
				conn.Close()
				conn = nil
			}
			have = want
			conn = r.open(want)
			turn.end()
			turn = newCaptureTurn()
		}
		if conn != nil {
			r.sample(conn, have.ID)
			r.captureStep(&turn, have, time.Now())
		}
		if now := r.Received().Mismatch(time.Now()); now != mismatch {
			mismatch = now
			r.logMismatch(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// captureTurn is the present or the next capture of messages that go elsewhere.
type captureTurn struct {
	configured time.Time // start of the present configuration
	at         time.Time // start of the present capture, or the earliest of the next
	last       time.Time // end of the last one
	socket     *capture
}

func newCaptureTurn() captureTurn {
	now := time.Now()
	return captureTurn{configured: now, at: now}
}

func (t *captureTurn) end() {
	if t.socket != nil {
		t.socket.close()
		t.socket = nil
	}
}

// captureStep starts a capture when one is due, reads it, and ends it. Without
// CAP_NET_RAW there is none: it finds more than the kernel or its tools report.
func (r *Receiver) captureStep(t *captureTurn, c *ipvs.SyncConfig, now time.Time) {
	if t.socket == nil {
		h := r.Received()
		if now.Before(t.at) && !h.At.After(t.last) && !h.misdirected(now) || !h.overdue(t.configured, now) {
			return
		}
		if t.socket, _ = openCapture(c.Interface); t.socket == nil {
			t.at = now.Add(captureInterval)
			return
		}
		t.at = now
		return
	}
	captured := t.socket.read()
	r.mu.Lock()
	for _, m := range captured {
		r.received = r.received.addMisdirected(c, m, now)
	}
	r.mu.Unlock()
	if now.Sub(t.at) >= captureDuration {
		t.end()
		t.at, t.last = t.at.Add(captureInterval), now
	}
}

func (r *Receiver) logMismatch(mismatch bool) {
	if !mismatch {
		r.log.Info("connection synchronisation recovered, or no messages are received")
		return
	}
	for _, p := range r.Problems() {
		r.log.Warn(p)
	}
}

// open joins the group of the kernel's receiver. What was received under another
// configuration is forgotten.
func (r *Receiver) open(c *ipvs.SyncConfig) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := r.received.Error
	r.received, r.own = Received{}, nil
	if c == nil {
		return nil
	}
	r.own = c
	conn, err := listen(c)
	if err != nil {
		if r.received.Error = err.Error(); failed != r.received.Error {
			r.log.Warn("failed to listen for the peer's connections, will be retried", "reason", err)
		}
		return nil
	}
	r.received.Listening = true
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
	_ = conn.SetReadBuffer(readSize) // samples need no more
	return conn, nil
}

// sample reads what is in the buffer, which is a message or two.
func (r *Receiver) sample(conn *net.UDPConn, own uint8) {
	buf := make([]byte, 16)
	// Do not wait for messages that have not arrived.
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return
	}
	for range 8 {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if m, ok := parseMessageHead(buf[:n]); ok {
			r.mu.Lock()
			r.received = r.received.add(own, from.Addr().Unmap(), m, time.Now())
			r.mu.Unlock()
		}
	}
}
