// This file asks the others: once a second how they are, and for people what they
// want to know besides.

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
	"sync"
	"syscall"
	"time"

	"lvsd/config"
)

// Ask asks a peer how it stands to a real server.
func (e *Exchange) Ask(ctx context.Context, director, service, realServer string) (Drain, error) {
	s := e.setup.Load()
	if s == nil {
		return Drain{}, errors.New("[pair] is not configured, so no other director can be asked")
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
	return Drain{}, fmt.Errorf("no other director is called %q", director)
}

// call asks a peer one question.
func (e *Exchange) call(ctx context.Context, s *setup, p config.Peer, q question) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := e.o.Dial(ctx, s.Address, p.Address)
	if err != nil {
		return reply{}, explain(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	q.From, q.To = s.self, p.Name
	body, err := json.Marshal(q)
	if err != nil || len(body) > maxRequest {
		return reply{}, errors.New("the question is too long")
	}
	text, err := converse(conn, s.keys, body)
	if err != nil {
		return reply{}, explain(err)
	}
	return parseReply(text, q)
}

// converse holds the caller's side of a conversation.
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
	if h, err = readHead(conn, kindAnswer); err != nil {
		return nil, err
	}
	if h.length > maxAnswer || h.key != keys.first {
		return nil, errForeign
	}
	// Grown as it comes: whoever answers has proven nothing yet.
	var text bytes.Buffer
	if _, err := io.CopyN(&text, conn, int64(h.length)+macLen); err != nil {
		return nil, err
	}
	answered, proof := text.Bytes()[:h.length], text.Bytes()[h.length:]
	if keys.proven(h, server, client, answered, proof) != 0 {
		return nil, errors.New("its answer is not proven: it has another key, or it is somebody else")
	}
	return answered, nil
}

var errForeign = errors.New("what answers there is not lvsd's exchange, or another version of it")

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
		return h, fmt.Errorf("it refuses: %s", Refusal(h.key).explain())
	case h.kind != want:
		return h, errForeign
	}
	return h, nil
}

// explain says in few words why a peer did not answer.
func explain(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nobody listens there: lvsd does not run, or without [pair]")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer within %v", patience)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("there is no way to it")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("this director's own [[director]] address is not on this host")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("it hung up")
	}
	return err
}

// round asks all peers at once, and takes up what they said.
func (e *Exchange) round(ctx context.Context) {
	s := e.setup.Load()
	if s == nil {
		e.known = map[string]*acquaintance{}
		e.peers.Store(nil)
		return
	}
	e.meet(s, time.Now())
	own := e.myself()
	answers := make([]heard, len(s.Peers))
	var asked sync.WaitGroup
	for i, p := range s.Peers {
		asked.Go(func() { answers[i] = e.question(ctx, s, p, own) })
	}
	asked.Wait()
	if ctx.Err() != nil || e.setup.Load() != s {
		return // what was heard is of a setup that is over
	}
	e.conclude(s, own, answers, time.Now())
}

// heard is what came of a question.
type heard struct {
	state State
	ahead time.Duration // the peer's clock
	err   error
}

// question asks one peer how it is, and for all its servers where only their
// digest came and differs.
func (e *Exchange) question(ctx context.Context, s *setup, p config.Peer, own State) heard {
	began := time.Now()
	r, err := e.call(ctx, s, p, question{Want: wantState})
	if err != nil {
		return heard{err: err}
	}
	took := time.Since(began)
	out := heard{state: *r.State, ahead: r.State.At.Sub(began.Add(took / 2))}
	if h := &out.state.Health; h.Digest != own.Health.Digest && h.Services == nil && h.Servers > 0 {
		if details, err := e.call(ctx, s, p, question{Want: wantHealth}); err == nil {
			*h = *details.Health
		}
	}
	return out
}
