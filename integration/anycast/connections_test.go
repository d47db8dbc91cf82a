package anycast

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// connections are established connections to every address.
type connections struct {
	site *site
	all  []*lab.Conversation
}

// connect opens so many connections to each address.
func (s *site) connect(n int) *connections {
	s.t.Helper()
	c := &connections{site: s}
	for _, v := range s.vips() {
		for range n {
			one, err := lab.TryConverse(s.client, net.JoinHostPort(v, "80"), patience)
			if err != nil {
				s.t.Fatalf("connect to %s: %v", v, err)
			}
			c.all = append(c.all, one)
		}
	}
	return c
}

// broken sends a line on each connection, and returns how many are broken.
func (c *connections) broken() (n int, first error) {
	errs := make([]error, len(c.all))
	var all sync.WaitGroup
	for i, one := range c.all {
		all.Go(func() { errs[i] = one.Say(patience) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			n, first = n+1, err
		}
	}
	return n, first
}

// unbroken requires that every connection continues.
func (c *connections) unbroken(when string) {
	c.site.t.Helper()
	if n, err := c.broken(); n > 0 {
		c.site.t.Fatalf("%s: %d of %d connections broke: %v", when, n, len(c.all), err)
	}
	c.site.t.Logf("%s: 0 of %d connections broke", when, len(c.all))
}

// shares counts the connections that each director's kernel has seen established.
func (s *site) shares() (n []int) {
	for _, d := range s.lb {
		n = append(n, strings.Count(d.MustRun("ipvsadm", "-Lnc"), "ESTABLISHED"))
	}
	return n
}

// TestAnycastConnections: of 150 established connections none breaks when a director dies or
// comes back, with mh and sloppy_tcp, or with any scheduler and connection sync among all;
// with mh and connection sync, nor when a director dies after a server was drained.
func TestAnycastConnections(t *testing.T) {
	withSync := func(text string) string { return text + "\n[ipvs.sync]\ninterface = \"eth0\"\nid = 51\n" }
	for _, how := range []setting{
		{name: "mh", speaker: bird},
		{name: "wlc-sync", speaker: bird, edit: func(text string) string {
			return withSync(lvsdtest.Replace(t, text, `scheduler = "mh"`, `scheduler = "wlc"`))
		}},
		{name: "mh-sync", speaker: bird, servers: 3, edit: withSync},
	} {
		t.Run(how.name, func(t *testing.T) {
			s := newSite(t, how)
			c := s.connect(150)
			if how.edit != nil {
				s.waitSynced(len(c.all))
			} else if n := s.shares(); min(n[0], n[1], n[2]) < 20 {
				t.Fatalf("the router gives the directors %v connections", n)
			}
			if how.servers > 0 {
				for _, d := range s.lb {
					d.mustRun("drain", "web", "10.0.0.21:80", "-c", d.config, "--director", d.Name, "--socket", d.socket)
				}
				c.unbroken("after a drain")
			}
			s.lb[0].CutCable()
			t.Logf("the router notices a dead director after %v", s.waitHops(2))
			c.unbroken("after a death")
			s.lb[0].PlugCable()
			s.waitHops(3)
			c.unbroken("after the director came back")
		})
	}
}

// waitSynced waits until each director knows all connections.
func (s *site) waitSynced(n int) {
	s.t.Helper()
	s.WaitUntil(patience, fmt.Sprintf("%d connections on each director", n), func() bool {
		have := s.shares()
		return min(have[0], have[1], have[2]) >= n
	})
}
