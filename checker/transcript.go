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

// Transcript is what one probe did and what came of it.
type Transcript struct {
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
	// linesLimit and bytesLimit bound a transcript: a server may dribble.
	linesLimit = 24
	bytesLimit = 200
)

// Try answers why a check cannot be made on this machine: of "exec", a user that
// there is not.
func Try(c Check) error {
	if c.fixed() != Unknown {
		return nil
	}
	if err := c.validate(); err != nil {
		return err
	}
	_, err := newProber(&c, newShared())
	return err
}

// Once runs a check once. An error is a check that makes no sense; what is wrong
// with the server is in the result.
func Once(ctx context.Context, c Check) (Transcript, error) {
	begun := time.Now()
	if v := c.fixed(); v != Unknown {
		reason := OK
		if v == Down {
			reason = Off
		}
		return Transcript{Result: Result{At: begun, Reason: reason}}, nil
	}
	if err := c.validate(); err != nil {
		return Transcript{}, err
	}
	common := newShared()
	p, err := newProber(&c, common)
	if err != nil {
		return Transcript{}, err
	}
	if c.HostName != "" {
		looking, cancel := context.WithCancel(ctx)
		var lookups sync.WaitGroup
		defer lookups.Wait()
		defer cancel()
		common.names.want(map[string]struct{}{c.HostName: {}})
		lookups.Go(func() { common.names.run(looking) })
	}
	t := &pen{begun: begun, secrets: c.Secrets}
	out := p.probe(context.WithValue(ctx, penKey{}, t), begun.Add(c.Timeout))
	return Transcript{Result: Result{At: begun, Reason: out.reason, Phase: out.phase, Detail: hidden(out.detail, c.Secrets), Took: time.Since(begun)}, Steps: t.written()}, nil
}

// pen writes a transcript. A nil pen writes nothing: that of every probe of the
// engine.
type pen struct {
	begun   time.Time
	secrets []string
	mu      sync.Mutex // an HTTP/2 client reads in a goroutine of its own
	lines   []Line
}

// hidden is a text without the secrets in it.
func hidden(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "...")
		}
	}
	return text
}

// penKey is where a probe's context has it.
type penKey struct{}

func penOf(ctx context.Context) *pen {
	p, _ := ctx.Value(penKey{}).(*pen)
	return p
}

func (p *pen) note(phase, format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < linesLimit {
		p.lines = append(p.lines, Line{time.Since(p.begun), phase, printable(fmt.Sprintf(format, args...), detailLimit)})
	}
}

// bytes notes the first of what is sent or received.
func (p *pen) bytes(phase string, b []byte) {
	if p == nil || len(b) == 0 {
		return
	}
	more := ""
	if len(b) > bytesLimit {
		more = " ..."
	}
	text := hidden(string(b), p.secrets)
	p.note(phase, "%d bytes: %s%s", len(b), text[:min(len(text), bytesLimit)], more)
}

func (p *pen) written() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// session is a TLS connection whose plain text is noted.
type session struct {
	*tls.Conn
	pen *pen
}

func (s *session) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.pen.bytes(PhaseReceive, b[:n])
	return n, err
}

func (s *session) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.pen.bytes(PhaseSend, b[:n])
	return n, err
}

// noted says what came of a handshake, and lets the plain text be noted from now
// on in place of what is on the wire.
func (p *pen) noted(s *tls.Conn) *session {
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
	p.note(PhaseTLS, "%s", text)
	return &session{s, p}
}
