package probe

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/pattern"
	"lvsd/checker/probe/wire"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// httpProbe makes one request on a connection of its own, and another for each redirect
// that is followed. It reads each response to its end, up to a bound, also where nothing
// is expected of the body: one that hangs or breaks is a failure, and a server that is
// cut off reports an error.
type httpProbe struct {
	netpoll.Dialer
	loopProbe    *netpoll.LoopProbe // nil unless it is a single HTTP/1.1 request without TLS
	tls          *tls.Config        // for the first host; that of another differs in the name
	first        *wire.Request
	bytes        []byte // of the first request
	status       []StatusRange
	expect       *pattern.Pattern // nil: none
	expectNot    *pattern.Pattern // nil: none
	limit        int64            // of a body, in bytes; 0: wire.MaxBody; less: none is read
	response     *response        // nil: nothing else counts
	digest       string           // of the body, in hex; "": none
	newHash      func() hash.Hash
	follow       int
	http2        bool
	proxyVersion string // of the PROXY protocol; "": none
}

// buffers are for reading. A probe that hangs holds one.
var buffers = sync.Pool{New: func() any { b := make([]byte, 2048); return &b }}

func (p *httpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	r, raw := p.first, p.bytes
	var expiry time.Time
	for followed := 0; ; followed++ {
		a := p.newResponse(r)
		out := p.request(ctx, deadline, r, raw, &a)
		if !out.CertExpiry.IsZero() {
			expiry = out.CertExpiry
		}
		out.CertExpiry = expiry
		if out.Reason != outcome.OK || !p.follows(&a) {
			return out
		}
		if followed == p.follow {
			return p.evaluate(&a, out)
		}
		next, err := r.Follow(a.Status, a.Location)
		if err != nil {
			out.Reason, out.Detail = outcome.Protocol, outcome.Printable(a.StatusLine()+": "+err.Error(), outcome.MaxDetail)
			return out
		}
		r, raw = next, next.Bytes()
	}
}

// newResponse returns a response that has not started yet.
func (p *httpProbe) newResponse(r *wire.Request) wire.Response {
	a := wire.Response{NoBody: r.Method == "HEAD", WantBody: p.expect != nil || p.expectNot != nil, Limit: p.limit}
	if e := p.response; e != nil {
		a.WantBody, a.WantHead = a.WantBody || len(e.json) > 0, len(e.headers) > 0 || e.drainHeader != ""
	}
	if p.digest != "" {
		a.Hash = p.newHash()
	}
	return a
}

func (p *httpProbe) LoopProbe() *netpoll.LoopProbe { return p.loopProbe }

// session makes one request without TLS.
func (p *httpProbe) session(c netpoll.Stream) outcome.Outcome {
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	a := p.newResponse(p.first)
	out := p.exchangeHTTP1(c, p.bytes, &a)
	if closes(&a) {
		c.AwaitClose()
	}
	return out
}

// closes reports whether the server is about to close the connection by itself, or still
// sends a response whose status decided.
func closes(a *wire.Response) bool {
	return a.HeadDone() && !a.BodyTooLong && !(a.Done() && a.KeepAlive)
}

// request makes one request on a connection of its own. A redirect that is to be followed
// is OK.
func (p *httpProbe) request(ctx context.Context, deadline time.Time, r *wire.Request, raw []byte, a *wire.Response) outcome.Outcome {
	d := p.Dialer
	d.To = netpoll.UnmappedWithZone(r.To)
	c, out := d.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if out := sendProxyHeader(c, p.proxyVersion, d.To); out.Reason != "" {
		return out
	}
	on := net.Conn(c)
	var expiry time.Time
	if r.TLS {
		if on, expiry, out = startTLS(c, p.tlsConfigFor(r)); on == nil {
			out.CertExpiry = expiry
			return out
		}
	}
	if out = p.exchange(ctx, on, r, raw, a); closes(a) && !p.http2 {
		c.AwaitEnd(on)
	}
	out.CertExpiry = expiry
	return out
}

// tlsConfigFor returns the TLS configuration for the host of a request.
func (p *httpProbe) tlsConfigFor(r *wire.Request) *tls.Config {
	if r.Host == p.first.Host {
		return p.tls
	}
	other := p.tls.Clone()
	other.ServerName = r.Host
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		other.ServerName = host
	}
	other.ServerName = strings.Trim(other.ServerName, "[]")
	return other
}

func (p *httpProbe) exchange(ctx context.Context, c net.Conn, r *wire.Request, raw []byte, a *wire.Response) outcome.Outcome {
	if p.http2 {
		return p.exchangeHTTP2(ctx, c, r, a)
	}
	return p.exchangeHTTP1(c, raw, a)
}

func (p *httpProbe) exchangeHTTP1(c io.ReadWriter, raw []byte, a *wire.Response) outcome.Outcome {
	if _, err := c.Write(raw); err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	return p.receive(c, a)
}

// receive reads the response and evaluates it. A status that is not accepted decides: the
// body is not waited for, and only read until the server closes.
func (p *httpProbe) receive(c io.Reader, a *wire.Response) outcome.Outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for !a.Done() {
		n, err := c.Read(*buf)
		if broken := a.Feed((*buf)[:n]); broken != nil {
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, outcome.Printable(broken.Error(), outcome.MaxDetail))
		}
		if a.HeadDone() && !p.follows(a) && !p.accepts(a.Status) {
			break
		}
		if err == nil || a.Done() {
			continue
		}
		if outcome.ReasonOf(err) == outcome.Closed && a.EndsWithConnection() {
			break
		}
		return outcome.FromError(outcome.PhaseReceive, err, a.Excerpt())
	}
	out := outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, a.StatusLine())
	if p.follows(a) {
		return out
	}
	return p.evaluate(a, out)
}

// follows reports whether a response redirects to where the probe goes next.
func (p *httpProbe) follows(a *wire.Response) bool { return p.follow > 0 && wire.IsRedirect(a.Status) }

// evaluate compares a complete response with what is expected, and with what asks for a
// drain. Each response decides again whether the server drains.
func (p *httpProbe) evaluate(a *wire.Response, out outcome.Outcome) outcome.Outcome {
	e := p.response
	if e == nil || !e.drains() {
		return p.compare(a, out)
	}
	report := outcome.NoReport
	if inRanges(e.drainStatus, a.Status) {
		report.Drain = true
	} else if out = p.compare(a, out); out.Reason != outcome.OK {
		return out
	} else if value, ok := a.Fields[e.drainHeader]; ok {
		report.Drain = e.drainMatch == nil || e.drainMatch.Match([]byte(value))
	}
	if report.Drain {
		out.Detail = outcome.Printable(a.StatusLine()+", requests a drain", outcome.MaxDetail)
	}
	out.Report = &report
	return out
}

// compare compares a complete response with what is expected.
func (p *httpProbe) compare(a *wire.Response, out outcome.Outcome) outcome.Outcome {
	if !p.accepts(a.Status) {
		out.Reason = outcome.Status
		return out
	}
	wrong := ""
	if p.response != nil {
		wrong = p.response.compare(a)
	}
	switch {
	case wrong != "":
		out.Reason = outcome.Body
		out.Detail = outcome.Printable(a.StatusLine()+", "+wrong, outcome.MaxDetail)
	case p.expect != nil && !p.expect.Match(a.Body), p.expectNot != nil && p.expectNot.Match(a.Body):
		out.Reason = outcome.Body
		length := ""
		if a.BodyTooLong {
			length = fmt.Sprintf(" of more than %d bytes (read_limit)", len(a.Body))
		}
		out.Detail = outcome.Printable(a.StatusLine(), 50) + ", body" + length + ` "` + outcome.Printable(string(a.Body), outcome.MaxDetail-120) + `"`
	case p.digest != "" && a.BodyTooLong:
		out.Reason, out.Detail = outcome.Body, outcome.Printable(fmt.Sprintf("%s, a body of more than %d bytes (read_limit)", a.StatusLine(), p.limit), outcome.MaxDetail)
	case p.digest != "":
		if sum := hex.EncodeToString(a.Hash.Sum(nil)); sum != p.digest {
			out.Reason, out.Detail = outcome.Body, outcome.Printable(a.StatusLine()+", the body's digest is "+sum, outcome.MaxDetail)
		}
	}
	return out
}

func (p *httpProbe) accepts(status int) bool { return inRanges(p.status, status) }

func inRanges(all []StatusRange, status int) bool {
	return slices.ContainsFunc(all, func(r StatusRange) bool { return r.First <= status && status <= r.Last })
}

// response is a prepared Response.
type response struct {
	headers     map[string]*pattern.Pattern // by names in lower case; nil: any value
	json        map[string]string           // by JSON pointers
	drainStatus []StatusRange
	drainHeader string           // in lower case; "": none
	drainMatch  *pattern.Pattern // nil: any value
}

func (s *Shared) response(r *Response) (*response, error) {
	if r == nil {
		return nil, nil
	}
	e := &response{headers: make(map[string]*pattern.Pattern, len(r.Headers)), json: r.JSON, drainStatus: r.DrainStatus, drainHeader: strings.ToLower(r.DrainHeader)}
	var err error
	for name, text := range r.Headers {
		if e.headers[strings.ToLower(name)], err = s.expression(text); err != nil {
			return nil, err
		}
	}
	e.drainMatch, err = s.expression(r.DrainMatch)
	return e, err
}

func (e *response) drains() bool { return len(e.drainStatus) > 0 || e.drainHeader != "" }

// compare returns what is not as expected, "" if all is.
func (e *response) compare(a *wire.Response) string {
	for _, name := range slices.Sorted(maps.Keys(e.headers)) {
		value, ok := a.Fields[name]
		if match := e.headers[name]; !ok || match != nil && !match.Match([]byte(value)) {
			return fmt.Sprintf("%s: %q", name, value)
		}
	}
	for _, pointer := range slices.Sorted(maps.Keys(e.json)) {
		value, err := wire.JSONAt(a.Body, pointer)
		switch {
		case err != nil:
			return err.Error()
		case value != e.json[pointer]:
			return fmt.Sprintf("%s is %q", pointer, value)
		}
	}
	return ""
}

// drainingHTTPProbe is an httpProbe whose responses may ask for a drain. A drain goes on
// until the first response to a changed check.
type drainingHTTPProbe struct{ *httpProbe }

func (p drainingHTTPProbe) ResumeReport(outcome.AgentReport) {}

// newHTTPProbe prepares the request and what is expected.
func newHTTPProbe(c *Check, common *Shared) (Prober, error) {
	p := &httpProbe{Dialer: newDialer(c), status: slices.Clone(c.Status), limit: int64(c.ReadLimit), follow: c.FollowRedirects, http2: c.HTTP2, proxyVersion: c.ProxyProtocol}
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
	p.bytes = p.first.Bytes()
	if p.expect, err = common.expression(c.BodyExpect); err != nil {
		return nil, err
	}
	if p.expectNot, err = common.expression(c.ExpectNot); err != nil {
		return nil, err
	}
	if p.response, err = common.response(c.Response); err != nil {
		return nil, err
	}
	if c.Digest != "" {
		name, sum, _ := strings.Cut(c.Digest, ":")
		p.digest, p.newHash = sum, hashes[name]
		if p.limit == 0 {
			p.limit = wire.MaxHashedBody
		}
		if raw, err := hex.DecodeString(sum); p.newHash == nil || err != nil || len(raw) != p.newHash().Size() {
			return nil, fmt.Errorf("%q is not a digest", c.Digest)
		}
	}
	if err := checkProxyVersion(c.ProxyProtocol); err != nil {
		return nil, err
	}
	if c.Type == TypeHTTPS || c.FollowRedirects > 0 {
		protocol := "http/1.1"
		if c.HTTP2 {
			protocol = "h2"
		}
		p.tls, err = common.tlsConfig(c, protocol)
	} else if !c.HTTP2 && c.Digest == "" && (c.Response == nil || len(c.Response.JSON) == 0) && c.ReadLimit <= wire.MaxBody { // megabytes, or decoding, would stall the loop
		p.loopProbe = &netpoll.LoopProbe{Dialer: p.Dialer, Session: p.session}
	}
	if p.response != nil && p.response.drains() {
		return drainingHTTPProbe{p}, err
	}
	return p, err
}

var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "md5": md5.New}

var okStatus = []StatusRange{{200, 299}}

// exchangeHTTP2 makes a request by HTTP/2.
func (p *httpProbe) exchangeHTTP2(ctx context.Context, c net.Conn, r *wire.Request, a *wire.Response) outcome.Outcome {
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	q, err := http.NewRequest(r.Method, scheme+"://"+r.Host+r.Path, strings.NewReader(r.Body))
	if err != nil {
		return outcome.NewOutcome(outcome.Protocol, outcome.PhaseSend, outcome.Printable(err.Error(), outcome.MaxDetail))
	}
	q.Host = r.Host
	for name, value := range r.Headers {
		if !strings.EqualFold(name, "Connection") && !strings.EqualFold(name, "Content-Length") { // RFC 9113 §8.2.2
			q.Header.Set(name, value)
		}
	}
	got, out := roundTrip(ctx, c, q)
	if got == nil {
		return out
	}
	defer got.close()
	a.Status, a.Text, a.HeadComplete = got.StatusCode, http.StatusText(got.StatusCode), true
	a.Location = got.Header.Get("Location")
	if a.WantHead {
		for name, values := range got.Header {
			a.AddField(name, strings.Join(values, ", "))
		}
	}
	out = outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, a.StatusLine())
	if p.limit >= 0 && (p.follows(a) || p.accepts(a.Status)) {
		a.Length, a.UntilClose = 1<<62, true
		a.State = wire.BodyState
		for buf := make([]byte, 2048); !a.Done(); {
			n, err := got.Body.Read(buf)
			a.Feed(buf[:n]) // a body of unknown length is never malformed
			if err == io.EOF {
				break
			}
			if err != nil {
				return fromHTTP2Error(outcome.PhaseReceive, err)
			}
		}
	}
	if p.follows(a) {
		return out
	}
	return p.evaluate(a, out)
}

// requestOf returns the first request of a check.
func requestOf(c *Check) (*wire.Request, error) {
	return wire.NewRequest(wire.Request{TLS: c.Type == TypeHTTPS, To: c.Address, Method: c.Method, Host: hostHeader(c), Path: c.Path,
		Headers: c.Headers, Body: c.Body}, c.Host != "")
}

// hostHeader returns the Host header: a name or an address, without the default port.
func hostHeader(c *Check) string {
	if c.Host != "" {
		return c.Host
	}
	port := c.Address.Port()
	usual := port == 80 && c.Type == TypeHTTP || port == 443 && c.Type == TypeHTTPS
	a := c.Address.Addr().Unmap().WithZone("")
	switch {
	case c.HostName != "" && usual:
		return c.HostName
	case c.HostName != "":
		return c.HostName + ":" + strconv.Itoa(int(port))
	case usual && a.Is6():
		return "[" + a.String() + "]"
	case usual:
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

func checkProxyVersion(version string) error {
	if version != "" && version != "v1" && version != "v2" {
		return fmt.Errorf("the PROXY protocol has no version %q", version)
	}
	return nil
}

// sendProxyHeader sends a PROXY header; none for the version "". The outcome is zero on
// success.
func sendProxyHeader(c netpoll.Stream, version string, to netip.AddrPort) outcome.Outcome {
	if version == "" {
		return outcome.Outcome{}
	}
	from, err := c.LocalAddrPort()
	if err == nil {
		_, err = c.Write(wire.ProxyHeader(version, from, to))
	}
	if err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	return outcome.Outcome{}
}
