// How far the drain of a real server is: what is left of it here and on the
// other directors, and which of that keeps it from being done. It asks nobody.

package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Drained is how far a drain is.
type Drained struct {
	Service    string `json:"service"`
	RealServer string `json:"real_server"`
	// Drained: nothing is left that is waited for.
	Drained bool `json:"drained"`
	// Since is when the drain began; zero of a server that left the file.
	Since time.Time `json:"since,omitzero"`
	// Left is how many connections, flows and templates are waited for.
	Left int `json:"left"`
	// Waits says what keeps it from being done, for people.
	Waits []string `json:"waits"`
	// Unknown are directors that did not say how they stand to the server: nobody
	// waits for them.
	Unknown   []string        `json:"unknown"`
	Directors []DirectorDrain `json:"directors"` // this one first

	leaving bool // it is no longer in the file
}

// DirectorDrain is what one director's kernel has of the server.
type DirectorDrain struct {
	Director   string `json:"director"`
	Weight     *int   `json:"weight"` // nil: not in its table
	Active     uint32 `json:"active_connections"`
	Inactive   uint32 `json:"inactive_connections"`
	Persistent uint32 `json:"persistent_connections"`
	// Counted: it is waited for what is left here. A director that does not have
	// the service's address has only what the other one has told it.
	Counted bool `json:"counted"`
}

// JudgeDrain says how far a drain is. All waits for TCP connections that are
// closed, too. Before is what was judged last, or zero: a server that left the
// file is gone when it is drained. The error refuses a server that does not
// drain.
func JudgeDrain(s Status, peers []PeerDrain, service, real string, all bool, before Drained) (Drained, error) {
	out := Drained{Service: service, RealServer: real, Waits: []string{}, Unknown: []string{}, Directors: []DirectorDrain{}}
	svc, rs := s.find(service, real)
	if svc == nil {
		return out, fmt.Errorf("there is no service %q; there are: %s", service, strings.Join(s.serviceNames(), ", "))
	}
	if rs == nil {
		return out.leave(s, before)
	}
	if !rs.Draining {
		return out, fmt.Errorf("%s of %s is not draining (%s): set its weight to 0 in the file, on both directors, and reload", real, service, rs.Why)
	}
	out.Since = drainSince(*rs)
	holds := s.holds(*svc)
	kind := counting{all: all || svc.Protocol == "udp" || svc.Protocol == "fwmark", udp: svc.Protocol == "udp"}
	out.add(kind, DirectorDrain{Director: s.Director, Weight: rs.Weight, Active: rs.Active, Inactive: rs.Inactive, Persistent: rs.Persistent, Counted: true})
	for _, p := range peers {
		switch d := p.Drain; {
		case d == nil:
			out.Unknown = append(out.Unknown, fmt.Sprintf("%s does not say how it stands to the server: %s", p.Director, p.Error))
		case !d.Known:
			// It does not have the server at all.
		case !d.Draining:
			out.Waits = append(out.Waits, fmt.Sprintf("%s would use it: weight %d in its file, reload it there, too", p.Director, d.Configured))
		default:
			out.add(kind, DirectorDrain{Director: p.Director, Weight: d.Weight, Active: d.Active, Inactive: d.Inactive, Persistent: d.Persistent, Counted: !holds})
		}
	}
	out.Drained = len(out.Waits) == 0
	return out, nil
}

// counting is what of a server's entries is waited for.
type counting struct {
	all bool // those that are not established, too: all of UDP are so
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
		d.Left += int(n)
		d.Waits = append(d.Waits, fmt.Sprintf("%s has %s", director.Director, count(n, one, more)))
	}
	if w := director.Weight; w != nil && *w > 0 {
		d.Waits = append(d.Waits, fmt.Sprintf("the kernel of %s still has weight %d", director.Director, *w))
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

// leave judges a server that is not in the file: it drains for drain_timeout,
// and is gone then.
func (d Drained) leave(s Status, before Drained) (Drained, error) {
	d.leaving = true
	for _, l := range s.IPVS.Draining {
		if l.Service == d.Service && l.RealServer == d.RealServer {
			d.Since = l.Since
			if l.Left != nil {
				d.Left = *l.Left
			}
			d.Waits = append(d.Waits, fmt.Sprintf("%s has %s; it left the file, and is removed at %s at the latest", s.Director,
				count(uint32(d.Left), "connection", "connections"), l.Deadline.Local().Format(time.TimeOnly)))
			return d, nil
		}
	}
	if before.leaving {
		d.Drained = true
		return d, nil
	}
	return d, fmt.Errorf("service %s has no real server %s: there is nothing to wait for", d.Service, d.RealServer)
}

// find answers a service and one of its real servers; nil where there is none.
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

func (s Status) serviceNames() []string {
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Name)
	}
	return names
}

// holds says that a service's address is on this director, so that every packet
// of its connections passes here.
func (s Status) holds(svc ServiceStatus) bool {
	address, err := netip.ParseAddrPort(svc.Address)
	if err != nil {
		return false
	}
	for _, e := range s.VRRP {
		for _, p := range e.Addresses {
			if e.Holding && p.Addr() == address.Addr() {
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
