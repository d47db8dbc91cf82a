// This file runs a check once and writes down what it does, step by step, for
// people: the same probe as the engine's, with a pen in its hand. It judges
// nothing beyond the probe's own result.

package checker

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Trace is what one probe did and what came of it.
type Trace struct {
	Result
	Steps []Line
}

// Line is one thing that a probe did or heard.
type Line struct {
	After time.Duration // since the probe began
	Phase string        // see the Phase constants
	Text  string        // printable ASCII
}

const (
	// maxLines and bytesLimit bound a transcript: a server may dribble.
	maxLines = 24
	maxBytes = 200
)

// Try answers why a check cannot be made on this machine: of "exec", a user that
// there is not.
func Try(c Check) error {
	if c.fixed() != Unknown {
		return nil
	}
	if err := c.Validate(); err != nil {
		return err
	}
	_, err := NewProber(&c, NewShared())
	return err
}

// Once runs a check once. An error is a check that makes no sense; what is wrong
// with the server is in the result.
func Once(ctx context.Context, c Check) (Trace, error) {
	begun := time.Now()
	if v := c.fixed(); v != Unknown {
		reason := OK
		if v == Down {
			reason = Off
		}
		return Trace{Result: Result{At: begun, Reason: reason}}, nil
	}
	if err := c.Validate(); err != nil {
		return Trace{}, err
	}
	common := NewShared()
	p, err := NewProber(&c, common)
	if err != nil {
		return Trace{}, err
	}
	if c.HostName != "" {
		looking, cancel := context.WithCancel(ctx)
		var lookups sync.WaitGroup
		defer lookups.Wait()
		defer cancel()
		common.Resolver.SetHosts(map[string]struct{}{c.HostName: {}})
		lookups.Go(func() { common.Resolver.Run(looking) })
	}
	t := &Tracer{started: begun, secrets: c.Secrets}
	out := p.Probe(context.WithValue(ctx, contextKey{}, t), begun.Add(c.Timeout))
	return Trace{Result: Result{At: begun, Reason: out.Reason, Phase: out.Phase, Detail: Redact(out.Detail, c.Secrets), Took: time.Since(begun)}, Steps: t.Lines()}, nil
}

// Tracer writes a transcript. A nil pen writes nothing: that of every probe of the
// engine.
type Tracer struct {
	started time.Time
	secrets []string
	mu      sync.Mutex // an HTTP/2 client reads in a goroutine of its own
	lines   []Line
}

// Redact is a text without the secrets in it.
func Redact(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "...")
		}
	}
	return text
}

// contextKey is where a probe's context has it.
type contextKey struct{}

func TracerOf(ctx context.Context) *Tracer {
	p, _ := ctx.Value(contextKey{}).(*Tracer)
	return p
}

func (p *Tracer) Note(phase, format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < maxLines {
		p.lines = append(p.lines, Line{time.Since(p.started), phase, Printable(fmt.Sprintf(format, args...), MaxDetail)})
	}
}

// Bytes notes the first of what is sent or received.
func (p *Tracer) Bytes(phase string, b []byte) {
	if p == nil || len(b) == 0 {
		return
	}
	more := ""
	if len(b) > maxBytes {
		more = " ..."
	}
	text := Redact(string(b), p.secrets)
	p.Note(phase, "%d bytes: %s%s", len(b), text[:min(len(text), maxBytes)], more)
}

func (p *Tracer) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// TLSConn is a TLS connection whose plain text is noted.
type TLSConn struct {
	*tls.Conn
	tracer *Tracer
}

func (s *TLSConn) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.tracer.Bytes(PhaseReceive, b[:n])
	return n, err
}

func (s *TLSConn) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.tracer.Bytes(PhaseSend, b[:n])
	return n, err
}

// WrapTLS says what came of a handshake, and lets the plain text be noted from now
// on in place of what is on the wire.
func (p *Tracer) WrapTLS(s *tls.Conn) *TLSConn {
	state := s.ConnectionState()
	text := tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
	if state.NegotiatedProtocol != "" {
		text += ", " + state.NegotiatedProtocol
	}
	if len(state.PeerCertificates) > 0 {
		cert := state.PeerCertificates[0]
		trust := "not verified"
		if len(state.VerifiedChains) > 0 {
			trust = "verified"
		}
		text += fmt.Sprintf("; certificate of %q, until %s, %s", strings.Join(append([]string{cert.Subject.CommonName}, cert.DNSNames...), " "),
			cert.NotAfter.UTC().Format(time.RFC3339), trust)
	}
	p.Note(PhaseTLS, "%s", text)
	return &TLSConn{s, p}
}
