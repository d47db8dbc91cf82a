package wire

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Request is an HTTP/1.1 request and the address that it goes to.
type Request struct {
	TLS                bool
	To                 netip.AddrPort // always the probed address; the port may differ after a redirect
	Method, Host, Path string
	Headers            map[string]string // the default and the configured ones, without Host
	Body               string
}

// NewRequest completes and validates a request. r.Headers are the configured
// fields; a Host field among them replaces r.Host unless hostFixed. Nothing in the
// configuration can smuggle in a second request.
func NewRequest(r Request, hostFixed bool) (*Request, error) {
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.Path == "" {
		r.Path = "/"
	}
	if !isToken(r.Method) {
		return nil, fmt.Errorf("invalid method %q", r.Method)
	}
	if strings.ContainsFunc(r.Path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("the path %q has a space or control character", r.Path)
	}
	configured := r.Headers
	r.Headers = map[string]string{"User-Agent": "lvsd", "Accept": "*/*", "Connection": "close"}
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		value := configured[name]
		if !isToken(name) {
			return nil, fmt.Errorf("invalid header name %q", name)
		}
		for ours := range r.Headers {
			if strings.EqualFold(ours, name) {
				delete(r.Headers, ours)
			}
		}
		if strings.EqualFold(name, "Host") {
			if !hostFixed {
				r.Host = value
			}
			continue
		}
		r.Headers[name] = value
	}
	if slices.Contains([]string{"POST", "PUT", "PATCH"}, r.Method) || r.Body != "" {
		r.Headers["Content-Length"] = strconv.Itoa(len(r.Body))
	}
	for _, value := range append(slices.Collect(maps.Values(r.Headers)), r.Host) {
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, errors.New("a header contains a line break")
		}
	}
	return &r, nil
}

// Bytes encodes the request (RFC 9112 §3).
func (r *Request) Bytes() []byte {
	text := r.Method + " " + r.Path + " HTTP/1.1\r\nHost: " + r.Host + "\r\n"
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		text += name + ": " + r.Headers[name] + "\r\n"
	}
	return []byte(text + "\r\n" + r.Body)
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// IsRedirect reports whether a status redirects by Location.
func IsRedirect(status int) bool {
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308
}

// Follow returns the request that a redirect asks for. It always goes to the server that
// is probed, whatever host the redirect names: that server is to be judged, and a name is
// not looked up in the middle of a probe. The host is sent as Host and by SNI, and the
// port is that of the redirect.
func (r *Request) Follow(status int, location string) (*Request, error) {
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	base, err := url.Parse(scheme + "://" + r.Host)
	if err != nil {
		return nil, fmt.Errorf("no host: %q", r.Host)
	}
	path, err := url.ParseRequestURI(r.Path)
	if err != nil || location == "" {
		return nil, errors.New("a redirect without a location")
	}
	base.Path, base.RawPath, base.RawQuery = path.Path, path.RawPath, path.RawQuery
	to, err := base.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("a redirect to %q", location)
	}
	if to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, fmt.Errorf("a redirect to %q", location)
	}
	if strings.ContainsFunc(to.Host+to.RequestURI(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, fmt.Errorf("a redirect to %q", location)
	}
	next := *r
	next.Host, next.Path, next.TLS = to.Host, to.RequestURI(), to.Scheme == "https"
	if to.Host != base.Host || to.Scheme != base.Scheme {
		port := uint16(80)
		if next.TLS {
			port = 443
		}
		if p := to.Port(); p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("a redirect to %q", location)
			}
			port = uint16(n)
		}
		next.To = netip.AddrPortFrom(r.To.Addr(), port)
	}
	// RFC 9110 §15.4: only 307 and 308 keep the method and the body.
	if status != 307 && status != 308 && r.Method != "HEAD" {
		next.Method, next.Body = "GET", ""
		next.Headers = maps.Clone(r.Headers)
		delete(next.Headers, "Content-Length")
	}
	// Credentials for one host are not sent to another.
	if to.Host != base.Host {
		next.Headers = maps.Clone(next.Headers)
		for name := range next.Headers {
			if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Cookie") {
				delete(next.Headers, name)
			}
		}
	}
	return &next, nil
}
