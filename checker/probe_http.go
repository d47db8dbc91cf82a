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
	dialer
	plain   *light      // nil: it is more than one request of HTTP/1.1
	tls     *tls.Config // for the first host; another's differs in the name
	first   *request
	bytes   []byte // of the first request
	status  []StatusRange
	expect  *regexp.Regexp // nil: none
	not     *regexp.Regexp // nil: none
	digest  string         // of the body, in hex; "": none
	summer  func() hash.Hash
	follow  int
	http2   bool
	version string // of the PROXY protocol; "": none
}

// buffers are what answers are read into. A probe that hangs holds one.
var buffers = sync.Pool{New: func() any { b := make([]byte, 2048); return &b }}

func (p *httpProbe) probe(ctx context.Context, deadline time.Time) outcome {
	r, wire := p.first, p.bytes
	var expiry time.Time
	for followed := 0; ; followed++ {
		a := p.expected(r)
		out := p.ask(ctx, deadline, r, wire, &a)
		if !out.expiry.IsZero() {
			expiry = out.expiry
		}
		out.expiry = expiry
		if out.reason != OK || p.follow == 0 || !redirects(a.status) {
			return out
		}
		if followed == p.follow {
			return p.judge(&a, out)
		}
		next, err := r.follow(a.status, a.location)
		if err != nil {
			out.reason, out.detail = Protocol, printable(a.statusLine()+": "+err.Error(), detailLimit)
			return out
		}
		r, wire = next, next.bytes()
	}
}

// expected is an answer that has not begun yet.
func (p *httpProbe) expected(r *request) answer {
	a := answer{noBody: r.method == "HEAD", wantBody: p.readsBody()}
	if p.digest != "" {
		a.sum = p.summer()
	}
	return a
}

func (p *httpProbe) light() *light { return p.plain }

// talk is one request without TLS.
func (p *httpProbe) talk(c peer) outcome {
	if p.version != "" {
		if out := introduce(c, p.version, p.to); out.reason != "" {
			return out
		}
	}
	a := p.expected(p.first)
	return p.exchange1(c, p.bytes, &a)
}

func (p *httpProbe) readsBody() bool { return p.expect != nil || p.not != nil || p.digest != "" }

// ask makes one request on a connection of its own. A redirection that is to be
// followed is OK and not judged.
func (p *httpProbe) ask(ctx context.Context, deadline time.Time, r *request, wire []byte, a *answer) outcome {
	d := p.dialer
	d.to = unmappedWithZone(r.to)
	c, out := d.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.version != "" {
		if out := introduce(c, p.version, d.to); out.reason != "" {
			return out
		}
	}
	if !r.secure {
		return p.exchange(ctx, c, r, wire, a)
	}
	s, expiry, out := secure(c, p.settings(r))
	if s != nil {
		out = p.exchange(ctx, s, r, wire, a)
	}
	out.expiry = expiry
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

func (p *httpProbe) exchange(ctx context.Context, c net.Conn, r *request, wire []byte, a *answer) outcome {
	if p.http2 {
		return p.exchange2(ctx, c, r, a)
	}
	return p.exchange1(c, wire, a)
}

func (p *httpProbe) exchange1(c io.ReadWriter, wire []byte, a *answer) outcome {
	if _, err := c.Write(wire); err != nil {
		return failed(PhaseSend, err, "")
	}
	return p.receive(c, a)
}

// receive reads the answer as far as it is needed, and judges it.
func (p *httpProbe) receive(c io.Reader, a *answer) outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for !a.done() {
		n, err := c.Read(*buf)
		if broken := a.feed((*buf)[:n]); broken != nil {
			return end(Protocol, PhaseReceive, printable(broken.Error(), detailLimit))
		}
		if a.headDone() && (p.follow > 0 && redirects(a.status) || !p.accepts(a.status)) {
			break
		}
		if err == nil || a.done() {
			continue
		}
		if reasonOf(err) == Closed && a.endsWithConnection() {
			break
		}
		return failed(PhaseReceive, err, a.seen())
	}
	out := end(OK, PhaseReceive, a.statusLine())
	if p.follow > 0 && redirects(a.status) {
		return out
	}
	return p.judge(a, out)
}

// judge looks at a complete answer.
func (p *httpProbe) judge(a *answer, out outcome) outcome {
	switch {
	case !p.accepts(a.status):
		out.reason = Status
	case p.expect != nil && !p.expect.Match(a.body), p.not != nil && p.not.Match(a.body):
		out.reason = Body
		out.detail = printable(a.statusLine(), 50) + `, body "` + printable(string(a.body), detailLimit-70) + `"`
	case p.digest != "" && a.long:
		out.reason, out.detail = Body, printable(fmt.Sprintf("%s, a body of more than %d bytes", a.statusLine(), digestLimit), detailLimit)
	case p.digest != "":
		if sum := hex.EncodeToString(a.sum.Sum(nil)); sum != p.digest {
			out.reason, out.detail = Body, printable(a.statusLine()+", the body's digest is "+sum, detailLimit)
		}
	}
	return out
}

func (p *httpProbe) accepts(status int) bool {
	return slices.ContainsFunc(p.status, func(r StatusRange) bool { return r.First <= status && status <= r.Last })
}

// newHTTPProbe prepares the request and what is expected.
func newHTTPProbe(c *Check, common *shared) (prober, error) {
	p := &httpProbe{dialer: newDialer(c), status: slices.Clone(c.Status), follow: c.FollowRedirects, http2: c.HTTP2, version: c.ProxyProtocol}
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
	if p.not, err = common.expression(c.ExpectNot); err != nil {
		return nil, err
	}
	if c.Digest != "" {
		name, sum, _ := strings.Cut(c.Digest, ":")
		p.digest, p.summer = sum, sums[name]
		if raw, err := hex.DecodeString(sum); p.summer == nil || err != nil || len(raw) != p.summer().Size() {
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
		p.plain = &light{dialer: p.dialer, talk: p.talk}
	}
	return p, err
}

var sums = map[string]func() hash.Hash{"sha256": sha256.New, "md5": md5.New}

var okStatus = []StatusRange{{200, 299}}
