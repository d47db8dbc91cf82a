package ipvs

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// SyncListener hears the messages of the connection synchronisation, beside the
// kernel's own receiver, which tells nobody of those that it does not take. It
// takes samples: one message a second, whatever the stream, through a buffer
// that holds no more. It sends nothing.
type SyncListener struct {
	log    *slog.Logger
	config func() *SyncConfig

	mu    sync.Mutex
	heard SyncHeard
	own   uint8
}

// NewSyncListener starts nothing; Run does. Config is what the synchronisation is
// to be at the moment, nil for none.
func NewSyncListener(log *slog.Logger, config func() *SyncConfig) *SyncListener {
	return &SyncListener{log: log, config: config}
}

const (
	sampleEvery  = time.Second
	smallestRead = 2048 // a message, and what the kernel adds to it
)

// Heard is what was heard lately.
func (l *SyncListener) Heard() SyncHeard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// Problems is what somebody must do about it.
func (l *SyncListener) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.heard.Problem(l.own, time.Now()); p != "" {
		return []string{p}
	}
	return nil
}

// Run listens as the configuration says until ctx ends, and returns nil.
func (l *SyncListener) Run(ctx context.Context) error {
	var have *SyncConfig
	var conn *net.UDPConn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	mismatch := false
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if want := l.config(); !sameSync(want, have) || want != nil && conn == nil {
			if conn != nil {
				conn.Close()
				conn = nil
			}
			have = want
			conn = l.open(want)
		}
		if conn != nil {
			l.sample(conn, have.ID)
		}
		if now := l.Heard().Mismatch(time.Now()); now != mismatch {
			mismatch = now
			l.say(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *SyncListener) say(mismatch bool) {
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
func (l *SyncListener) open(c *SyncConfig) *net.UDPConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.heard.Error
	l.heard, l.own = SyncHeard{}, 0
	if c == nil {
		return nil
	}
	l.own = c.ID
	conn, err := listenSync(c)
	if err != nil {
		if l.heard.Error = err.Error(); failed != l.heard.Error {
			l.log.Warn("cannot listen for the peer's connections, will be tried again", "reason", err)
		}
		return nil
	}
	l.heard.Listening = true
	return conn
}

func listenSync(c *SyncConfig) (*net.UDPConn, error) {
	device, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return nil, err
	}
	group := c.Group
	if !group.IsValid() {
		group = defaultSyncGroup
	}
	conn, err := net.ListenMulticastUDP("udp", device, net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, cmp.Or(c.Port, defaultSyncPort))))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(smallestRead) // more would only be read to be thrown away
	return conn, nil
}

// sample takes what lies in the buffer, which is a message or two.
func (l *SyncListener) sample(conn *net.UDPConn, own uint8) {
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
			l.heard = l.heard.heard(own, from.Addr().Unmap(), m, time.Now())
			l.mu.Unlock()
		}
	}
}

// SyncWish is the synchronisation of the present wish; nil for none.
func (r *Reconciler) SyncWish() *SyncConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wish.Sync
}
