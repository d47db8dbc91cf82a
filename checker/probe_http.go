// This file is the probe of types "http" and "https": one HTTP/1.1 request on a
// connection of its own. It never follows a redirect, never sends a body, and
// reads no more of an answer than it needs.

package checker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

type httpProbe struct {
	dialer
	tls     *tls.Config // nil: http
	request []byte
	head    bool           // the method is HEAD: no body follows
	status  []StatusRange  // accepted
	expect  *regexp.Regexp // nil: the body is not read
}

// buffers are what answers are read into. A probe that hangs holds one.
var buffers = sync.Pool{New: func() any { b := make([]byte, 2048); return &b }}

func (p *httpProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.tls == nil {
		return p.exchange(c)
	}
	// The connection is closed without the library's farewell: nobody waits
	// for it, and it could block.
	secure := tls.Client(c, p.tls)
	if err := secure.Handshake(); err != nil {
		return failed(PhaseTLS, err, "")
	}
	return p.exchange(secure)
}

// exchange sends the request and judges the answer.
func (p *httpProbe) exchange(rw interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}) outcome {
	if _, err := rw.Write(p.request); err != nil {
		return failed(PhaseSend, err, "")
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	a := answer{noBody: p.head, wantBody: p.expect != nil}
	for !a.done() {
		n, err := rw.Read(*buf)
		if broken := a.feed((*buf)[:n]); broken != nil {
			return outcome{Protocol, PhaseReceive, printable(broken.Error(), detailLimit)}
		}
		if a.headDone() && !p.accepts(a.status) {
			return outcome{Status, PhaseReceive, a.statusLine()}
		}
		if err == nil || a.done() {
			continue
		}
		if reasonOf(err) == Closed && a.endsWithConnection() {
			break
		}
		return failed(PhaseReceive, err, a.seen())
	}
	if p.expect != nil && !p.expect.Match(a.body) {
		return outcome{Body, PhaseReceive, printable(a.statusLine(), 50) + `, body "` + printable(string(a.body), detailLimit-70) + `"`}
	}
	return outcome{OK, PhaseReceive, a.statusLine()}
}

func (p *httpProbe) accepts(status int) bool {
	return slices.ContainsFunc(p.status, func(r StatusRange) bool { return r.First <= status && status <= r.Last })
}

// newHTTPProbe prepares the request and what is expected.
func newHTTPProbe(c *Check, common *shared) (prober, error) {
	p := &httpProbe{dialer: newDialer(c), head: c.Method == "HEAD", status: slices.Clone(c.Status)}
	if len(p.status) == 0 {
		p.status = okStatus
	}
	for _, r := range p.status {
		if r.First > r.Last {
			return nil, fmt.Errorf("the status range %d-%d is empty", r.First, r.Last)
		}
	}
	var err error
	if p.request, err = requestOf(c); err != nil {
		return nil, err
	}
	if p.expect, err = common.expression(c.BodyExpect); err != nil {
		return nil, err
	}
	if c.Type == TypeHTTPS {
		p.tls = common.tlsConfig(c)
	}
	return p, nil
}

var okStatus = []StatusRange{{200, 299}}

// requestOf writes the request of RFC 9112 §3. What comes from the configuration
// cannot smuggle a second one in.
func requestOf(c *Check) ([]byte, error) {
	method, path, host := c.Method, c.Path, hostOf(c)
	if method == "" {
		method = "GET"
	}
	if path == "" {
		path = "/"
	}
	if !isToken(method) {
		return nil, fmt.Errorf("the method %q is none", method)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("the path %q has a space or control character", path)
	}
	headers := map[string]string{"User-Agent": "lvsd", "Accept": "*/*", "Connection": "close"}
	if slices.Contains([]string{"POST", "PUT", "PATCH"}, method) {
		headers["Content-Length"] = "0"
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		if !isToken(name) {
			return nil, fmt.Errorf("the header name %q is none", name)
		}
		for ours := range headers {
			if strings.EqualFold(ours, name) {
				delete(headers, ours)
			}
		}
		if strings.EqualFold(name, "Host") {
			if c.Host == "" {
				host = value
			}
			continue
		}
		headers[name] = value
	}
	request := method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		request += name + ": " + headers[name] + "\r\n"
	}
	for _, value := range append(slices.Collect(maps.Values(headers)), host) {
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, errors.New("a header has a line break in it")
		}
	}
	return []byte(request + "\r\n"), nil
}

// hostOf is the Host header: an address without the port that everybody assumes.
func hostOf(c *Check) string {
	if c.Host != "" {
		return c.Host
	}
	port := c.Address.Port()
	a := c.Address.Addr().Unmap().WithZone("")
	if port == 80 && c.Type == TypeHTTP || port == 443 && c.Type == TypeHTTPS {
		if a.Is6() {
			return "[" + a.String() + "]"
		}
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
