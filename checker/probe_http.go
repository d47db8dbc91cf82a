// This file is the probe of types "http" and "https": one request on a connection
// of its own, and one more for each redirection that is followed. It reads no
// more of an answer than it needs.

package checker

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

type httpProbe struct {
	Dialer
	loopProbe    *LoopProbe  // nil: it is more than one request of HTTP/1.1
	tls          *tls.Config // for the first host; another's differs in the name
	first        *request
	bytes        []byte // of the first request
	status       []StatusRange
	expect       *regexp.Regexp // nil: none
	expectNot    *regexp.Regexp // nil: none
	digest       string         // of the body, in hex; "": none
	newHash      func() hash.Hash
	follow       int
	http2        bool
	proxyVersion string // of the PROXY protocol; "": none
}

// buffers are what answers are read into. A probe that hangs holds one.
var buffers = sync.Pool{New: func() any { b := make([]byte, 2048); return &b }}

func (p *httpProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	r, wire := p.first, p.bytes
	var expiry time.Time
	for followed := 0; ; followed++ {
		a := p.expected(r)
		out := p.request(ctx, deadline, r, wire, &a)
		if !out.CertExpiry.IsZero() {
			expiry = out.CertExpiry
		}
		out.CertExpiry = expiry
		if out.Reason != OK || p.follow == 0 || !redirects(a.status) {
			return out
		}
		if followed == p.follow {
			return p.judge(&a, out)
		}
		next, err := r.follow(a.status, a.location)
		if err != nil {
			out.Reason, out.Detail = Protocol, Printable(a.statusLine()+": "+err.Error(), MaxDetail)
			return out
		}
		r, wire = next, next.bytes()
	}
}

// expected is an answer that has not begun yet.
func (p *httpProbe) expected(r *request) Response {
	a := Response{noBody: r.method == "HEAD", wantBody: p.readsBody()}
	if p.digest != "" {
		a.hash = p.newHash()
	}
	return a
}

func (p *httpProbe) LoopProbe() *LoopProbe { return p.loopProbe }

// session is one request without TLS.
func (p *httpProbe) session(c Stream) Outcome {
	if p.proxyVersion != "" {
		if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
			return out
		}
	}
	a := p.expected(p.first)
	return p.exchange1(c, p.bytes, &a)
}

func (p *httpProbe) readsBody() bool { return p.expect != nil || p.expectNot != nil || p.digest != "" }

// request makes one request on a connection of its own. A redirection that is to be
// followed is OK and not judged.
func (p *httpProbe) request(ctx context.Context, deadline time.Time, r *request, wire []byte, a *Response) Outcome {
	d := p.Dialer
	d.To = unmappedWithZone(r.to)
	c, out := d.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.proxyVersion != "" {
		if out := sendProxyHeader(c, p.proxyVersion, d.To); out.Reason != "" {
			return out
		}
	}
	if !r.secure {
		return p.exchange(ctx, c, r, wire, a)
	}
	s, expiry, out := startTLS(c, p.settings(r))
	if s != nil {
		out = p.exchange(ctx, s, r, wire, a)
	}
	out.CertExpiry = expiry
	return out
}

// settings are those of TLS, for the host that is asked.
func (p *httpProbe) settings(r *request) *tls.Config {
	if r.host == p.first.host {
		return p.tls
	}
	other := p.tls.Clone()
	other.ServerName = r.host
	if host, _, err := net.SplitHostPort(r.host); err == nil {
		other.ServerName = host
	}
	other.ServerName = strings.Trim(other.ServerName, "[]")
	return other
}

func (p *httpProbe) exchange(ctx context.Context, c net.Conn, r *request, wire []byte, a *Response) Outcome {
	if p.http2 {
		return p.exchange2(ctx, c, r, a)
	}
	return p.exchange1(c, wire, a)
}

func (p *httpProbe) exchange1(c io.ReadWriter, wire []byte, a *Response) Outcome {
	if _, err := c.Write(wire); err != nil {
		return FromError(PhaseSend, err, "")
	}
	return p.receive(c, a)
}

// receive reads the answer as far as it is needed, and judges it.
func (p *httpProbe) receive(c io.Reader, a *Response) Outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for !a.done() {
		n, err := c.Read(*buf)
		if broken := a.feed((*buf)[:n]); broken != nil {
			return NewOutcome(Protocol, PhaseReceive, Printable(broken.Error(), MaxDetail))
		}
		if a.headDone() && (p.follow > 0 && redirects(a.status) || !p.accepts(a.status)) {
			break
		}
		if err == nil || a.done() {
			continue
		}
		if ReasonOf(err) == Closed && a.endsWithConnection() {
			break
		}
		return FromError(PhaseReceive, err, a.seen())
	}
	out := NewOutcome(OK, PhaseReceive, a.statusLine())
	if p.follow > 0 && redirects(a.status) {
		return out
	}
	return p.judge(a, out)
}

// judge looks at a complete answer.
func (p *httpProbe) judge(a *Response, out Outcome) Outcome {
	switch {
	case !p.accepts(a.status):
		out.Reason = Status
	case p.expect != nil && !p.expect.Match(a.body), p.expectNot != nil && p.expectNot.Match(a.body):
		out.Reason = Body
		out.Detail = Printable(a.statusLine(), 50) + `, body "` + Printable(string(a.body), MaxDetail-70) + `"`
	case p.digest != "" && a.bodyTooLong:
		out.Reason, out.Detail = Body, Printable(fmt.Sprintf("%s, a body of more than %d bytes", a.statusLine(), digestLimit), MaxDetail)
	case p.digest != "":
		if sum := hex.EncodeToString(a.hash.Sum(nil)); sum != p.digest {
			out.Reason, out.Detail = Body, Printable(a.statusLine()+", the body's digest is "+sum, MaxDetail)
		}
	}
	return out
}

func (p *httpProbe) accepts(status int) bool {
	return slices.ContainsFunc(p.status, func(r StatusRange) bool { return r.First <= status && status <= r.Last })
}

// newHTTPProbe prepares the request and what is expected.
func newHTTPProbe(c *Check, common *Shared) (Prober, error) {
	p := &httpProbe{Dialer: newDialer(c), status: slices.Clone(c.Status), follow: c.FollowRedirects, http2: c.HTTP2, proxyVersion: c.ProxyProtocol}
	if len(p.status) == 0 {
		p.status = okStatus
	}
	for _, r := range p.status {
		if r.First > r.Last {
			return nil, fmt.Errorf("the status range %d-%d is empty", r.First, r.Last)
		}
	}
	var err error
	if p.first, err = requestOf(c); err != nil {
		return nil, err
	}
	p.bytes = p.first.bytes()
	if p.expect, err = common.expression(c.BodyExpect); err != nil {
		return nil, err
	}
	if p.expectNot, err = common.expression(c.ExpectNot); err != nil {
		return nil, err
	}
	if c.Digest != "" {
		name, sum, _ := strings.Cut(c.Digest, ":")
		p.digest, p.newHash = sum, hashes[name]
		if raw, err := hex.DecodeString(sum); p.newHash == nil || err != nil || len(raw) != p.newHash().Size() {
			return nil, fmt.Errorf("%q is no digest", c.Digest)
		}
	}
	switch c.ProxyProtocol {
	case "", "v1", "v2":
	default:
		return nil, fmt.Errorf("the PROXY protocol has no version %q", c.ProxyProtocol)
	}
	if c.Type == TypeHTTPS || c.FollowRedirects > 0 {
		protocol := "http/1.1"
		if c.HTTP2 {
			protocol = "h2"
		}
		p.tls, err = common.tlsConfig(c, protocol)
	} else if !c.HTTP2 && c.Digest == "" { // a digest may be of megabytes
		p.loopProbe = &LoopProbe{Dialer: p.Dialer, Session: p.session}
	}
	return p, err
}

var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "md5": md5.New}

var okStatus = []StatusRange{{200, 299}}
