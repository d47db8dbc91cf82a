// This file has the server's side. It checks the address of a client first, then its
// key, and only then reads the request. A client uses a bounded part of this process
// for a bounded time.

package peers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// callers is the number of concurrent requests of one peer: one of its loop, more
// for commands.
const callers = 8

// refusalTimeout is for the few bytes of a refusal, which a new socket has room for.
const refusalTimeout = 10 * time.Millisecond

// accept serves clients until the listener closes.
func (e *Exchange) accept(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no free descriptor, for example: temporary
			e.o.Log.Debug("peers: failed to accept a connection", "reason", err)
			if !pause(ctx, interval) {
				return
			}
			continue
		}
		from, who := e.identify(conn)
		if r := e.admit(from, who); r != 0 {
			// Without a goroutine, of which a flood would make many.
			_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
			e.refuse(conn, from, r)
			conn.Close()
			continue
		}
		e.tasks.Go(func() {
			defer e.release(from)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_ = conn.SetDeadline(time.Now().Add(requestTimeout))
			if r := e.serve(ctx, conn, who); r != 0 {
				e.refuse(conn, from, r)
			}
		})
	}
}

// admit counts a connection of a director in, or returns why it is refused.
func (e *Exchange) admit(from netip.Addr, who string) Refusal {
	switch {
	case who == "":
		return RefusedAddress
	case !e.acquire(from):
		return RefusedBusy
	}
	return 0
}

// identify returns the director that has the client's address.
func (e *Exchange) identify(conn net.Conn) (from netip.Addr, who string) {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from = tcp.AddrPort().Addr().Unmap()
	}
	if s := e.setup.Load(); s != nil {
		for _, p := range s.Peers {
			if p.Address.Addr() == from {
				return from, p.Name
			}
		}
	}
	return from, ""
}

// serve is the server's side of a conversation. It returns why it refuses, or 0.
func (e *Exchange) serve(ctx context.Context, conn net.Conn, who string) Refusal {
	s := e.setup.Load()
	if s == nil {
		return RefusedAddress
	}
	var server, client nonce
	rand.Read(server[:])
	if _, err := conn.Write(greeting(server)); err != nil {
		return 0 // the client has closed the connection
	}
	h, client, body, r := readRequest(conn, server, s.keys)
	if r != 0 {
		return r
	}
	q, ok := parseQuestion(body)
	if !ok {
		return RefusedMessage
	}
	if q.From != who || q.To != s.self {
		return RefusedName
	}
	_ = conn.SetDeadline(time.Now().Add(timeoutOf(q.Want)))
	text, ok := e.reply(ctx, q)
	if !ok {
		return RefusedRequest
	}
	_, _ = conn.Write(answer(s.keys, h.key, server, client, text))
	return 0
}

// readRequest reads a signed request.
func readRequest(r io.Reader, server nonce, keys Keys) (h head, client nonce, body []byte, refused Refusal) {
	var first [headLen + nonceLen]byte
	if _, err := io.ReadFull(r, first[:headLen]); err != nil {
		return h, client, nil, RefusedMessage
	}
	h, ok := parseHead(first[:])
	switch {
	case !ok:
		return h, client, nil, RefusedMessage
	case h.version != version:
		return h, client, nil, RefusedVersion
	case h.kind != kindRequest || h.length > maxRequest:
		return h, client, nil, RefusedMessage
	}
	rest := make([]byte, nonceLen+int(h.length)+macLen)
	if _, err := io.ReadFull(r, rest); err != nil {
		return h, client, nil, RefusedMessage
	}
	copy(client[:], rest)
	body = rest[nonceLen : nonceLen+h.length]
	return h, client, body, keys.verify(h, server, client, body, rest[nonceLen+h.length:])
}

// reply returns the response to a request.
func (e *Exchange) reply(ctx context.Context, q question) ([]byte, bool) {
	out := reply{From: q.To, To: q.From}
	switch q.Want {
	case wantState:
		s := e.self()
		s.At = time.Now()
		if s.Health.Servers > maxHealth {
			s.Health.Services = nil
		}
		out.State = &s
	case wantHealth:
		s := e.self()
		out.Health = &s.Health
	case wantDrain:
		d := e.o.Drain(ctx, q.Service, q.RealServer)
		out.Drain = &d
	case wantEdit:
		d := e.edit(ctx, q)
		out.Edited = &d
	default:
		return nil, false
	}
	text, err := json.Marshal(out)
	return text, err == nil && len(text) <= maxResponse
}

// acquire admits a bounded number of a peer's connections.
func (e *Exchange) acquire(from netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inProgress[from] >= callers {
		return false
	}
	e.inProgress[from]++
	return true
}

func (e *Exchange) release(from netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inProgress[from]--; e.inProgress[from] <= 0 {
		delete(e.inProgress, from)
	}
}

// logEvery is the minimum interval of logs of one refusal; all are counted.
const logEvery = time.Minute

// refuse sends a reason and closes the connection.
func (e *Exchange) refuse(conn net.Conn, from netip.Addr, r Refusal) {
	n := e.refused[r].Add(1)
	_, _ = conn.Write(refusal(r))
	now, last := time.Now().Unix(), e.logged[r].Load()
	if now-last >= int64(logEvery/time.Second) && e.logged[r].CompareAndSwap(last, now) {
		e.o.Log.Warn("peers: a request was refused", "from", from, "reason", r.String(), "total", n)
	}
}

// pause waits, and reports whether the context is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
