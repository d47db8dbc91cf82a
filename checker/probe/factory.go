package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/pattern"
	"lvsd/checker/probe/dialogue"
	"lvsd/checker/resolver"
	"lvsd/checker/trace"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Shared has what the probers of one Set have in common: ten thousand servers may be
// checked for one expression, with one TLS configuration.
type Shared struct {
	expressions map[string]*pattern.Pattern
	tlsConfigs  map[tlsKey]*tls.Config
	Resolver    *resolver.Resolver // the engine's
}

// NewShared returns an empty Shared with a resolver of its own.
func NewShared() *Shared {
	return &Shared{expressions: map[string]*pattern.Pattern{}, tlsConfigs: map[tlsKey]*tls.Config{}, Resolver: resolver.NewResolver()}
}

// NewProber returns the prober of a check that Validate accepts, or what is invalid in
// the rest of it.
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
		return newAgentProbe(c), nil
	case TypeGRPC:
		return newGRPCProbe(c, common)
	case TypeFile:
		return newFileProbe(c)
	}
	if dialogue.Known(c.Type) {
		return newDialogueProbe(c, common)
	}
	return nil, fmt.Errorf("%q is not a check type", c.Type)
}

// expression compiles a regular expression; that of "" is nil.
func (s *Shared) expression(text string) (*pattern.Pattern, error) {
	if text == "" {
		return nil, nil
	}
	if known := s.expressions[text]; known != nil {
		return known, nil
	}
	made, err := pattern.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("expect: %w", err)
	}
	s.expressions[text] = made
	return made, nil
}

// Prober is one prepared probe. Probe ends at the deadline at the latest, and soon after
// ctx ends, in exactly one outcome. Calls do not overlap.
type Prober interface {
	Probe(ctx context.Context, deadline time.Time) outcome.Outcome
}

// ReportResumer is a prober that continues from the report of the one before it.
type ReportResumer interface{ ResumeReport(outcome.AgentReport) }

// LoopProber is a prober that netpoll.Loop may be able to make: LoopProbe returns nil
// while it cannot.
type LoopProber interface{ LoopProbe() *netpoll.LoopProbe }

func newDialer(c *Check) netpoll.Dialer {
	return netpoll.Dialer{To: netpoll.UnmappedWithZone(c.Address), From: c.From.Unmap(), Mark: c.Mark, Interface: c.Interface, FIN: c.FIN}
}

// Trace is one probe: its result, and what was sent and received.
type Trace struct {
	outcome.Result
	Steps []trace.Line
}

// Try returns why a check cannot be made on this machine: for "exec", an unknown user.
func Try(c Check) error {
	if !c.Probes() {
		return nil
	}
	if err := c.Validate(); err != nil {
		return err
	}
	_, err := NewProber(&c, NewShared())
	return err
}

// CheckHost returns why this machine cannot make a check that NewProber accepts: a program
// that cannot be run, a name without addresses, a source address that is not local, a
// route that refuses the server's address. Nothing is sent but a query for the name.
func CheckHost(ctx context.Context, c Check, common *Shared) error {
	if !c.Probes() || c.Type == TypeFile || c.MarkPath { // the path of a mark is not there yet
		return nil
	}
	if c.Type == TypeExec {
		_, err := exec.LookPath(c.Command[0])
		return err
	}
	to := c.Address.Addr()
	if c.HostName != "" {
		all, err := common.Resolver.Lookup(ctx, c.HostName)
		if err != nil {
			return fmt.Errorf("%s: %w", c.HostName, err)
		}
		if to, err = firstOf(all, c.From); err != nil {
			return fmt.Errorf("%s: %w", c.HostName, err)
		}
	}
	c.Address = netip.AddrPortFrom(to, max(c.Address.Port(), 1)) // connect(2) wants a port
	d := newDialer(&c)
	conn, out := d.ConnectDatagram(ctx, time.Now().Add(time.Second), unix.SOCK_DGRAM, 0)
	if conn == nil {
		return fmt.Errorf("%v: %s", to, out.Detail)
	}
	return conn.Close()
}

// Once runs a check once. The error is that of an invalid check; a failure of the server
// is in the result.
func Once(ctx context.Context, c Check) (Trace, error) {
	start := time.Now()
	if !c.Probes() {
		reason := outcome.OK
		if c.Type == TypeOff {
			reason = outcome.Off
		}
		return Trace{Result: outcome.Result{At: start, Reason: reason}}, nil
	}
	if err := c.Validate(); err != nil {
		return Trace{}, err
	}
	common := NewShared()
	p, err := NewProber(&c, common)
	if err != nil {
		return Trace{}, err
	}
	if c.HostName != "" {
		lookupCtx, cancel := context.WithCancel(ctx)
		var lookups sync.WaitGroup
		defer lookups.Wait()
		defer cancel()
		common.Resolver.SetHosts(map[string]struct{}{c.HostName: {}})
		lookups.Go(func() { common.Resolver.Run(lookupCtx) })
	}
	t := &trace.Tracer{Started: start, Secrets: c.Secrets}
	out := p.Probe(context.WithValue(ctx, trace.ContextKey{}, t), start.Add(c.Timeout))
	return Trace{Result: outcome.Result{At: start, Reason: out.Reason, Phase: out.Phase, Detail: trace.Redact(out.Detail, c.Secrets), Took: time.Since(start)}, Steps: t.Lines()}, nil
}

// namedProbe probes an address of a host name. It stays with an address for as long as
// the name has it.
type namedProbe struct {
	check    Check
	resolver *resolver.Resolver
	common   *Shared // its own: it makes probers while others are in use
	addr     netip.Addr
	current  Prober // for at
	report   *outcome.AgentReport
}

func newNamedProbe(c *Check, common *Shared) (Prober, error) {
	p := &namedProbe{check: *c, resolver: common.Resolver, common: NewShared()}
	// Validate the check now, with any address.
	_, err := p.prober(netip.IPv4Unspecified())
	return p, err
}

func (p *namedProbe) prober(a netip.Addr) (Prober, error) {
	c := p.check
	c.Address = netip.AddrPortFrom(a, c.Address.Port())
	return newAddressProber(&c, p.common)
}

func (p *namedProbe) ResumeReport(s outcome.AgentReport) { p.report = &s }

// LoopProbe returns that of the address, nil before the first successful lookup.
func (p *namedProbe) LoopProbe() *netpoll.LoopProbe {
	all := p.resolver.Cached(p.check.HostName)
	if len(all) == 0 {
		return nil
	}
	if out := p.choose(all); out.Reason != "" {
		return nil
	}
	if run, ok := p.current.(LoopProber); ok {
		return run.LoopProbe()
	}
	return nil
}

func (p *namedProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	all, err := p.resolver.Addresses(ctx, p.check.HostName, deadline)
	if err != nil {
		return outcome.NewOutcome(outcome.DNS, outcome.PhaseName, outcome.Printable(p.check.HostName+": "+err.Error(), outcome.MaxDetail))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseName, "%s is %v", p.check.HostName, all)
	if out := p.choose(all); out.Reason != "" {
		return out
	}
	out := p.current.Probe(ctx, deadline)
	if out.Report != nil {
		p.report = out.Report
	}
	return out
}

// choose selects an address and makes its prober. The outcome is zero on success.
func (p *namedProbe) choose(all []netip.Addr) outcome.Outcome {
	first, err := firstOf(all, p.check.From)
	if err != nil {
		return outcome.NewOutcome(outcome.DNS, outcome.PhaseName, outcome.Printable(p.check.HostName+": "+err.Error(), outcome.MaxDetail))
	}
	if p.current != nil && slices.Contains(all, p.addr) {
		return outcome.Outcome{}
	}
	run, err := p.prober(first)
	if err != nil {
		return outcome.NewOutcome(outcome.Local, outcome.PhaseName, outcome.Printable(err.Error(), outcome.MaxDetail))
	}
	if r, ok := run.(ReportResumer); ok && p.report != nil {
		r.ResumeReport(*p.report)
	}
	p.addr, p.current = first, run
	return outcome.Outcome{}
}

// firstOf returns the first address of the family of a source address, if there is one.
func firstOf(all []netip.Addr, from netip.Addr) (netip.Addr, error) {
	for _, a := range all {
		if !from.IsValid() || a.Unmap().Is4() == from.Unmap().Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of the family of %v", from)
}
