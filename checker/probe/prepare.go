// This file makes the prober of a check. It never opens anything.

package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/resolver"
	"regexp"
	"time"
)

// Shared keeps what the probers of one Set may have in common: ten thousand
// servers are checked for one expression, under one certificate.
type Shared struct {
	expressions map[string]*regexp.Regexp
	tlsConfigs  map[tlsKey]*tls.Config
	Resolver    *resolver.Resolver // the engine's
}

func NewShared() *Shared {
	return &Shared{expressions: map[string]*regexp.Regexp{}, tlsConfigs: map[tlsKey]*tls.Config{}, Resolver: resolver.NewResolver()}
}

// NewProber makes the prober of a check whose common part is valid.
func NewProber(c *Check, common *Shared) (Prober, error) {
	if c.HostName != "" {
		return newNamedProbe(c, common)
	}
	return newAddressProber(c, common)
}

func newAddressProber(c *Check, common *Shared) (Prober, error) {
	switch c.Type {
	case TypeConnect:
		return newConnectProbe(c), nil
	case TypeSYN:
		return newSYNProbe(c), nil
	case TypeTCP:
		return newTCPProbe(c, common)
	case TypeHTTP, TypeHTTPS:
		return newHTTPProbe(c, common)
	case TypePing:
		return newPingProbe(c), nil
	case TypeUDP:
		return newUDPProbe(c, common)
	case TypeDNS:
		return newDNSProbe(c)
	case TypeSMTP:
		return newSMTPProbe(c, common)
	case TypeExec:
		return newExecProbe(c)
	case TypeAgent:
		return NewAgentProbe(c), nil
	case TypeGRPC:
		return newGRPCProbe(c, common)
	}
	return nil, fmt.Errorf("%q is no type of a check", c.Type)
}

// expression compiles; nothing expected is nil.
func (s *Shared) expression(text string) (*regexp.Regexp, error) {
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

// Prober is one prepared probe, the engine's edge to the network. It ends at the
// deadline at the latest, and soon after ctx did, in exactly one outcome.
type Prober interface {
	Probe(ctx context.Context, deadline time.Time) outcome.Outcome
}

// ReportResumer is a prober that goes on from what was said to the one before it.
type ReportResumer interface{ ResumeReport(outcome.AgentReport) }

// LoopProber is a prober that may be light. It may answer nil at one time, when it
// has to wait for something, and not at another.
type LoopProber interface{ LoopProbe() *netpoll.LoopProbe }

func newDialer(c *Check) netpoll.Dialer {
	return netpoll.Dialer{To: netpoll.UnmappedWithZone(c.Address), From: c.From.Unmap(), Mark: c.Mark}
}
