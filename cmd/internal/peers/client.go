// This file has the client's side: the status of each peer once a second, and requests
// made for a command.

package peers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"lvsd/config"
)

// RequestDrain returns the state of a real server on a peer.
func (e *Exchange) RequestDrain(ctx context.Context, director, service, realServer string) (Drain, error) {
	s := e.setup.Load()
	if s == nil {
		return Drain{}, errors.New("[peers] is not configured, so no other director can be queried")
	}
	for _, p := range s.Peers {
		if p.Name == director {
			r, err := e.call(ctx, s, p, question{Want: wantDrain, Service: service, RealServer: realServer})
			if err != nil {
				return Drain{}, fmt.Errorf("%s: %w", director, err)
			}
			return *r.Drain, nil
		}
	}
	return Drain{}, fmt.Errorf("there is no other director %q", director)
}

// call sends one request to a peer.
func (e *Exchange) call(ctx context.Context, s *setup, p config.Peer, q question) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(q.Want))
	defer cancel()
	conn, err := e.o.Dial(ctx, s.Address, p.Address)
	if err != nil {
		return reply{}, explain(err, timeoutOf(q.Want))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	q.From, q.To = s.self, p.Name
	body, err := json.Marshal(q)
	if err != nil || len(body) > maxRequest {
		return reply{}, errors.New("the request is too long")
	}
	text, err := converse(conn, s.keys, body)
	if err != nil {
		return reply{}, explain(err, timeoutOf(q.Want))
	}
	return parseReply(text, q)
}

// converse is the client's side of a conversation.
func converse(conn io.ReadWriter, keys Keys, body []byte) ([]byte, error) {
	var server, client nonce
	rand.Read(client[:])
	h, err := readHead(conn, kindGreeting)
	if err != nil {
		return nil, err
	}
	if h.length != 0 {
		return nil, errForeign
	}
	if _, err := io.ReadFull(conn, server[:]); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request(keys, server, client, body)); err != nil {
		return nil, err
	}
	if h, err = readHead(conn, kindResponse); err != nil {
		return nil, err
	}
	if h.length > maxResponse || h.key != keys.first {
		return nil, errForeign
	}
	// Grown as it arrives: the peer has not been authenticated yet.
	var text bytes.Buffer
	if _, err := io.CopyN(&text, conn, int64(h.length)+macLen); err != nil {
		return nil, err
	}
	answered, proof := text.Bytes()[:h.length], text.Bytes()[h.length:]
	if keys.verify(h, server, client, answered, proof) != 0 {
		return nil, errors.New("its response is not authentic: it has a different key, or another host replied")
	}
	return answered, nil
}

var errForeign = errors.New("the response is not from lvsd, or from an incompatible version")

// readHead reads the head of a message of a kind, or why it was refused.
func readHead(r io.Reader, want kind) (head, error) {
	var b [headLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return head{}, err
	}
	h, ok := parseHead(b[:])
	switch {
	case !ok || h.version != version:
		return h, errForeign
	case h.kind == kindRefusal:
		return h, fmt.Errorf("refused: %s", Refusal(h.key).explain())
	case h.kind != want:
		return h, errForeign
	}
	return h, nil
}

// explain describes in a few words why a peer did not reply. At the end of the time the
// connection is closed, which its reader may see before the deadline itself.
func explain(err error, within time.Duration) error {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused: lvsd is not running there, or [peers] is not configured")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, net.ErrClosed), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no reply within %v", within)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("no route to host")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("this director's own [[director]] address is not on this host")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("it hung up")
	}
	return err
}

// round sends a request to each peer that is not being asked already; again asks such a
// one once more as soon as it has replied. No peer waits for another.
func (e *Exchange) round(ctx context.Context, again bool, answers chan<- result) {
	s := e.setup.Load()
	if s == nil {
		e.known = map[string]*knownPeer{}
		e.peers.Store(nil)
		return
	}
	e.updatePeers(s, time.Now())
	for _, p := range s.Peers {
		e.ask(ctx, s, p, again, answers)
	}
}

// ask sends a request to one peer.
func (e *Exchange) ask(ctx context.Context, s *setup, p config.Peer, again bool, answers chan<- result) {
	k := e.known[p.Name]
	if k.inFlight {
		k.repeat = k.repeat || again
		return
	}
	k.inFlight, k.repeat = true, false
	own := e.self()
	e.tasks.Go(func() {
		r := e.request(ctx, s, p, own)
		select {
		case answers <- result{s, k, own, r}:
		case <-ctx.Done():
		}
	})
}

// result is a response with what it is for.
type result struct {
	setup *setup
	peer  *knownPeer
	self  State // of this director when the request was sent
	response
}

// response is the outcome of a request.
type response struct {
	sentAt     time.Time
	state      State
	clockAhead time.Duration // of the peer's clock
	err        error
}

// request asks one peer for its status, and for the health of all its servers where
// only the digest came and differs.
func (e *Exchange) request(ctx context.Context, s *setup, p config.Peer, own State) response {
	began := time.Now()
	r, err := e.call(ctx, s, p, question{Want: wantState})
	if err != nil {
		return response{err: err}
	}
	took := time.Since(began)
	out := response{sentAt: began, state: *r.State, clockAhead: r.State.At.Sub(began.Add(took / 2))}
	if h := &out.state.Health; h.Digest != own.Health.Digest && h.Services == nil && h.Servers > 0 {
		if details, err := e.call(ctx, s, p, question{Want: wantHealth}); err == nil {
			*h = *details.Health
		}
	}
	return out
}
