// This file makes the prober of a check. It never opens anything.

package checker

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// shared keeps what the probers of one Set may have in common: ten thousand
// servers are checked for one expression, under one certificate.
type shared struct {
	expressions map[string]*regexp.Regexp
	tlsConfigs  map[tlsKey]*tls.Config
}

type tlsKey struct {
	verify      bool
	name, caKey string
	caGiven     bool
}

func newShared() *shared {
	return &shared{map[string]*regexp.Regexp{}, map[tlsKey]*tls.Config{}}
}

// newProber makes the prober of a check whose common part is valid.
func newProber(c *Check, common *shared) (prober, error) {
	switch c.Type {
	case TypeConnect:
		return &connectProbe{newDialer(c)}, nil
	case TypeTCP:
		expect, err := common.expression(c.Expect)
		if err != nil {
			return nil, err
		}
		return &tcpProbe{newDialer(c), []byte(c.Send), expect}, nil
	case TypeHTTP, TypeHTTPS:
		return newHTTPProbe(c, common)
	}
	return nil, fmt.Errorf("%q is no type of a check", c.Type)
}

// expression compiles; nothing expected is nil.
func (s *shared) expression(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	if known := s.expressions[text]; known != nil {
		return known, nil
	}
	made, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("expect: %w", err)
	}
	s.expressions[text] = made
	return made, nil
}

// tlsConfig verifies by the name that a client would use. Sessions are not
// resumed: a resumed one proves less.
func (s *shared) tlsConfig(c *Check) *tls.Config {
	set := c.TLS
	if set == nil {
		set = &TLSConfig{Verify: true}
	}
	name := set.ServerName
	if name == "" {
		name = nameOf(c)
	}
	key := tlsKey{set.Verify, name, set.CAKey, set.CAs != nil}
	if known := s.tlsConfigs[key]; known != nil {
		return known
	}
	made := &tls.Config{ServerName: name, RootCAs: set.CAs, InsecureSkipVerify: !set.Verify, NextProtos: []string{"http/1.1"}}
	s.tlsConfigs[key] = made
	return made
}

// nameOf is the Host without its port, or the address.
func nameOf(c *Check) string {
	host := c.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); host == "" || err == nil {
		return c.Address.Addr().Unmap().WithZone("").String()
	}
	return host
}
