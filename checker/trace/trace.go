package trace

import (
	"context"
	"crypto/tls"
	"fmt"
	"lvsd/checker/outcome"
	"strings"
	"sync"
	"time"
)

// Line is one step of a probe.
type Line struct {
	After time.Duration // since the probe started
	Phase string        // see the Phase constants
	Text  string        // printable ASCII
}

const (
	// maxLines and bytesLimit bound a transcript: a server may dribble.
	MaxLines = 24
	maxBytes = 200
)

// Tracer records the steps of one probe. All methods of a nil Tracer do nothing.
type Tracer struct {
	Started time.Time
	Secrets []string
	mu      sync.Mutex // an HTTP/2 client reads in a goroutine of its own
	lines   []Line
}

// Redact returns text with each secret replaced by "...".
func Redact(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "...")
		}
	}
	return text
}

// ContextKey is where a probe's context has it.
type ContextKey struct{}

// TracerOf returns the tracer of a context, nil if it has none.
func TracerOf(ctx context.Context) *Tracer {
	p, _ := ctx.Value(ContextKey{}).(*Tracer)
	return p
}

// Note records one step.
func (p *Tracer) Note(phase, format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < MaxLines {
		p.lines = append(p.lines, Line{time.Since(p.Started), phase, outcome.Printable(fmt.Sprintf(format, args...), outcome.MaxDetail)})
	}
}

// Bytes records the first bytes that were sent or received.
func (p *Tracer) Bytes(phase string, b []byte) {
	if p == nil || len(b) == 0 {
		return
	}
	more := ""
	if len(b) > maxBytes {
		more = " ..."
	}
	text := Redact(string(b), p.Secrets)
	p.Note(phase, "%d bytes: %s%s", len(b), text[:min(len(text), maxBytes)], more)
}

// Lines returns the steps so far.
func (p *Tracer) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// TLSConn is a TLS connection whose plain text is recorded.
type TLSConn struct {
	*tls.Conn
	tracer *Tracer
}

func (s *TLSConn) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.tracer.Bytes(outcome.PhaseReceive, b[:n])
	return n, err
}

func (s *TLSConn) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.tracer.Bytes(outcome.PhaseSend, b[:n])
	return n, err
}

// WrapTLS records the result of a handshake and returns a connection whose plain text
// is recorded.
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
	p.Note(outcome.PhaseTLS, "%s", text)
	return &TLSConn{s, p}
}
