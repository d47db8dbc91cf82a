// This file writes HTTP/1.1 requests, and reads where an answer sends us. It
// never speaks to a server.

package checker

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

// request is what a web check asks for, and whom.
type request struct {
	secure             bool
	to                 netip.AddrPort // always the probed address; the port may differ after a redirection
	method, host, path string
	headers            map[string]string // our own and the configured ones, without Host
	body               string
}

// requestOf is the first request of a check. What comes from the configuration
// cannot smuggle a second one in.
func requestOf(c *Check) (*request, error) {
	r := &request{secure: c.Type == TypeHTTPS, to: c.Address, method: c.Method, host: hostOf(c), path: c.Path, body: c.Body}
	if r.method == "" {
		r.method = "GET"
	}
	if r.path == "" {
		r.path = "/"
	}
	if !isToken(r.method) {
		return nil, fmt.Errorf("the method %q is none", r.method)
	}
	if strings.ContainsFunc(r.path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("the path %q has a space or control character", r.path)
	}
	r.headers = map[string]string{"User-Agent": "lvsd", "Accept": "*/*", "Connection": "close"}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		if !isToken(name) {
			return nil, fmt.Errorf("the header name %q is none", name)
		}
		for ours := range r.headers {
			if strings.EqualFold(ours, name) {
				delete(r.headers, ours)
			}
		}
		if strings.EqualFold(name, "Host") {
			if c.Host == "" {
				r.host = value
			}
			continue
		}
		r.headers[name] = value
	}
	if slices.Contains([]string{"POST", "PUT", "PATCH"}, r.method) || r.body != "" {
		r.headers["Content-Length"] = strconv.Itoa(len(r.body))
	}
	for _, value := range append(slices.Collect(maps.Values(r.headers)), r.host) {
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, errors.New("a header has a line break in it")
		}
	}
	return r, nil
}

// bytes is the request in the form of RFC 9112 §3.
func (r *request) bytes() []byte {
	text := r.method + " " + r.path + " HTTP/1.1\r\nHost: " + r.host + "\r\n"
	for _, name := range slices.Sorted(maps.Keys(r.headers)) {
		text += name + ": " + r.headers[name] + "\r\n"
	}
	return []byte(text + "\r\n" + r.body)
}

// hostOf is the Host header: a name or an address without the port that
// everybody assumes.
func hostOf(c *Check) string {
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

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// redirects says whether a status sends the client elsewhere by Location.
func redirects(status int) bool {
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308
}

// follow is the request that a redirection asks for. It always goes to the server
// that is probed, whatever host the redirection names: that one is judged here,
// and a name is not looked up in the middle of a probe. The host is sent as Host
// and by SNI, and the port is the redirection's.
func (r *request) follow(status int, location string) (*request, error) {
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	base, err := url.Parse(scheme + "://" + r.host)
	if err != nil {
		return nil, fmt.Errorf("no host: %q", r.host)
	}
	path, err := url.ParseRequestURI(r.path)
	if err != nil || location == "" {
		return nil, errors.New("a redirection to nowhere")
	}
	base.Path, base.RawPath, base.RawQuery = path.Path, path.RawPath, path.RawQuery
	to, err := base.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("a redirection to %q", location)
	}
	if to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, fmt.Errorf("a redirection to %q", location)
	}
	if strings.ContainsFunc(to.Host+to.RequestURI(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, fmt.Errorf("a redirection to %q", location)
	}
	next := *r
	next.host, next.path, next.secure = to.Host, to.RequestURI(), to.Scheme == "https"
	if to.Host != base.Host || to.Scheme != base.Scheme {
		port := uint16(80)
		if next.secure {
			port = 443
		}
		if p := to.Port(); p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("a redirection to %q", location)
			}
			port = uint16(n)
		}
		next.to = netip.AddrPortFrom(r.to.Addr(), port)
	}
	// RFC 9110 §15.4: only 307 and 308 keep the method and the body.
	if status != 307 && status != 308 && r.method != "HEAD" {
		next.method, next.body = "GET", ""
		next.headers = maps.Clone(r.headers)
		delete(next.headers, "Content-Length")
	}
	// What was meant for one host is not told to another: there may be a
	// password in it.
	if to.Host != base.Host {
		next.headers = maps.Clone(next.headers)
		for name := range next.headers {
			if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Cookie") {
				delete(next.headers, name)
			}
		}
	}
	return &next, nil
}
