// This file evaluates the progress of a drain: what is left on this director and on the
// others, and what of that prevents its completion.

package api

import (
	"fmt"
	"net/netip"
	"time"
)

// Drained is the progress of a drain.
type Drained struct {
	Service    string `json:"service"`
	RealServer string `json:"real_server"`
	// Drained: nothing is left to wait for.
	Drained bool `json:"drained"`
	// Since is when the drain began; zero for a server removed from the file.
	Since time.Time `json:"since,omitzero"`
	// Remaining is the number of connections, flows and templates that are waited for.
	Remaining int `json:"left"`
	// WaitReasons says what prevents completion, as text.
	WaitReasons []string `json:"waits"`
	// Unknown are directors that did not report the state of the server: the drain does
	// not wait for them.
	Unknown   []string        `json:"unknown"`
	Directors []DirectorDrain `json:"directors"` // this one first

	leaving bool // removed from the file
}

// DirectorDrain is what one director's kernel has of the server.
type DirectorDrain struct {
	Director   string `json:"director"`
	Weight     *int   `json:"weight"` // nil: not in its table
	Active     uint32 `json:"active_connections"`
	Inactive   uint32 `json:"inactive_connections"`
	Persistent uint32 `json:"persistent_connections"`
	// Counted: the drain waits for these. A director that does not have the service's
	// address has only connections synchronised from the other one.
	Counted bool `json:"counted"`
}

// DrainProgress returns the progress of a drain. With all it also waits for closed TCP
// connections. Before is the previous result, or zero: a server removed from the file
// is drained when it has disappeared. The error says that the server is not draining.
func DrainProgress(s Status, peers []PeerDrain, service, real string, all bool, before Drained) (Drained, error) {
	out := Drained{Service: service, RealServer: real, WaitReasons: []string{}, Unknown: []string{}, Directors: []DirectorDrain{}}
	svc, rs := s.find(service, real)
	if svc == nil {
		return out, UnknownService(service, s.serviceNames())
	}
	if rs == nil {
		return out.leave(s, before)
	}
	if !rs.Draining {
		return out, fmt.Errorf("%s of %s is not draining (%s): run lvsd drain %s %s on both directors", real, service, rs.Why, service, real)
	}
	out.Since = drainSince(*rs)
	holds := s.hasVIP(*svc)
	kind := counting{all: all || svc.Protocol == "udp" || svc.Protocol == "fwmark", udp: svc.Protocol == "udp"}
	out.add(kind, DirectorDrain{Director: s.Director, Weight: rs.Weight, Active: rs.Active, Inactive: rs.Inactive, Persistent: rs.Persistent, Counted: true})
	for _, p := range peers {
		switch d := p.Drain; {
		case d == nil:
			out.Unknown = append(out.Unknown, fmt.Sprintf("%s does not report its state of the server: %s", p.Director, p.Error))
		case !d.Found:
			// The server is not configured there.
		case !d.Draining:
			out.WaitReasons = append(out.WaitReasons, fmt.Sprintf("%s would use it: weight %d in its file; change and reload it there as well", p.Director, d.Configured))
		default:
			out.add(kind, DirectorDrain{Director: p.Director, Weight: d.Weight, Active: d.Active, Inactive: d.Inactive, Persistent: d.Persistent, Counted: !holds})
		}
	}
	out.Drained = len(out.WaitReasons) == 0
	return out, nil
}

// counting is which of a server's entries the drain waits for.
type counting struct {
	all bool // entries that are not established too; UDP entries never are
	udp bool
}

func (d *Drained) add(k counting, director DirectorDrain) {
	d.Directors = append(d.Directors, director)
	if !director.Counted {
		return
	}
	wait := func(n uint32, one, more string) {
		if n == 0 {
			return
		}
		d.Remaining += int(n)
		d.WaitReasons = append(d.WaitReasons, fmt.Sprintf("%s has %s", director.Director, count(n, one, more)))
	}
	if w := director.Weight; w != nil && *w > 0 {
		d.WaitReasons = append(d.WaitReasons, fmt.Sprintf("the kernel of %s still has weight %d", director.Director, *w))
	}
	wait(director.Active, "active connection", "active connections")
	switch {
	case k.udp:
		wait(director.Inactive, "flow", "flows")
	case k.all:
		wait(director.Inactive, "connection that is not established", "connections that are not established")
	}
	wait(director.Persistent, "template of a persistent client", "templates of persistent clients")
}

func count(n uint32, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// leave evaluates a server that is not in the file: it drains for drain_timeout and is
// then removed.
func (d Drained) leave(s Status, before Drained) (Drained, error) {
	d.leaving = true
	for _, l := range s.IPVS.Draining {
		if l.Service == d.Service && l.RealServer == d.RealServer {
			d.Since = l.Since
			if l.Remaining != nil {
				d.Remaining = *l.Remaining
			}
			d.WaitReasons = append(d.WaitReasons, fmt.Sprintf("%s has %s; removed from the file, and from the kernel by %s", s.Director,
				count(uint32(d.Remaining), "connection", "connections"), l.Deadline.Local().Format(time.TimeOnly)))
			return d, nil
		}
	}
	if before.leaving {
		d.Drained = true
		return d, nil
	}
	return d, fmt.Errorf("service %s has no real server %s: nothing to wait for", d.Service, d.RealServer)
}

// find returns a service and one of its real servers; nil where there is none.
func (s Status) find(service, real string) (*ServiceStatus, *RealServerStatus) {
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.Name != service {
			continue
		}
		for j := range svc.RealServers {
			if svc.RealServers[j].Address == real {
				return svc, &svc.RealServers[j]
			}
		}
		return svc, nil
	}
	return nil, nil
}

// ServerAddress returns the "ip:port" of the real server that a command names, and what was
// given where there is none, or more than one.
func (s Status) ServerAddress(service, given string) string {
	var found []string
	for _, svc := range s.Services {
		for _, rs := range svc.RealServers {
			if svc.Name == service && MeansServer(rs.Address, given) {
				found = append(found, rs.Address)
			}
		}
	}
	if len(found) != 1 {
		return given
	}
	return found[0]
}

func (s Status) serviceNames() []string {
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Name)
	}
	return names
}

// hasVIP reports whether a service's address is on this director, so that all packets
// of its connections pass here.
func (s Status) hasVIP(svc ServiceStatus) bool {
	address, err := netip.ParseAddrPort(svc.Address)
	if err != nil {
		return false
	}
	for _, e := range s.VRRP {
		for _, p := range e.Addresses {
			if e.HasVIPs && p.Addr() == address.Addr() {
				return true
			}
		}
	}
	return false
}

// drainSince is when the cause of a drain began.
func drainSince(rs RealServerStatus) time.Time {
	for _, c := range rs.Causes {
		if c.Weight == 0 && (c.Kind == "drain" || c.Kind == "agent") {
			return c.Since
		}
	}
	return time.Time{}
}
