package anycast

import (
	"net"
	"sync"

	"lvsd/integration/lab"
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

// broken says something on each connection, and returns how many are broken.
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

// unbroken wants every connection to go on.
func (c *connections) unbroken(when string) {
	c.site.t.Helper()
	if n, err := c.broken(); n > 0 {
		c.site.t.Fatalf("%s: %d of %d connections broke: %v", when, n, len(c.all), err)
	}
	c.site.t.Logf("%s: 0 of %d connections broke", when, len(c.all))
}
