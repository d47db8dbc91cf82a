// Connections that are not synchronised yet when the master hands over.

package vrrp_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// clients connect one after another; most of them send a line from time to time.
type clients struct {
	p    *lvsdtest.Pair
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	failed int // connects
	talks  []*agedConversation
}

// agedConversation is a connection with the time at which it was opened.
type agedConversation struct {
	*lab.Conversation
	born time.Time
}

// startClients starts a client every interval until end is called.
func startClients(p *lvsdtest.Pair, every time.Duration) *clients {
	ctx, stop := context.WithCancel(p.T.Context())
	c := &clients{p: p, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			talk, err := lab.TryConverse(p.Client, lvsdtest.VIPPort, 10*time.Second)
			c.mu.Lock()
			if err != nil {
				c.failed++
			} else {
				c.talks = append(c.talks, &agedConversation{talk, time.Now()})
				// Every third one sends nothing until the end: the kernel does not
				// synchronise it.
				if len(c.talks)%3 > 0 {
					talk.Keep(300*time.Millisecond, 20*time.Second)
				}
			}
			c.mu.Unlock()
		}
	}()
	return c
}

// count returns the number of clients that are connected.
func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.talks)
}

// wait waits until this number of further clients are connected.
func (c *clients) wait(more int) {
	c.p.T.Helper()
	want := c.count() + more
	c.p.WaitUntil(60*time.Second, fmt.Sprint(want, " clients"), func() bool { return c.count() >= want })
}

// end stops the clients, lets each send a last line and returns how many have lost
// their connection. It logs them by their age when the address moved.
func (c *clients) end(moved time.Time, what string) (lost int) {
	c.p.T.Helper()
	c.stop()
	<-c.done
	type bucket struct{ lost, all int }
	ages := map[int]*bucket{}
	for _, t := range c.talks {
		age := int(moved.Sub(t.born).Seconds())
		if moved.Before(t.born) {
			age = -1 // opened after it began to move
		}
		age = min(age, 5)
		if ages[age] == nil {
			ages[age] = &bucket{}
		}
		ages[age].all++
		if err := t.Say(20 * time.Second); err != nil {
			ages[age].lost++
			lost++
			c.p.T.Logf("%s: of age %v: %v", what, moved.Sub(t.born), err)
		}
	}
	text := ""
	for age := -1; age <= 5; age++ {
		if b := ages[age]; b != nil {
			text += fmt.Sprintf(" %ds:%d/%d", age, b.lost, b.all)
		}
	}
	c.p.T.Logf("FIGURE %s: lost by age (-1: opened afterwards):%s; %d connects failed", what, text, c.failed)
	for _, t := range c.talks {
		t.Close()
	}
	if c.failed > 0 {
		c.p.T.Errorf("%s: %d connects failed", what, c.failed)
	}
	return lost
}

// TestUnsyncedConnectionsSurviveHandover: no connection is lost in a handover and the
// preemption after it, whatever its age.
func TestUnsyncedConnectionsSurviveHandover(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		p.AdvertInterval, p.VRRPKeys = "500ms", `sync_hold = "0s"`
		p.EnableSync()
	})
	lb1, lb2 := p.LB[0], p.LB[1]
	for _, step := range []struct {
		what string
		move func()
	}{
		{"handover", func() {
			if out, err := handover(lb1, "--force"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lb2.WaitState("master", 10*time.Second)
		}},
		{"preemption", func() {
			if out, err := handover(lb1, "--end"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lb1.WaitState("master", 20*time.Second)
		}},
	} {
		c := startClients(p, 25*time.Millisecond)
		c.wait(100)
		moved := time.Now()
		step.move()
		c.wait(40)
		if lost := c.end(moved, step.what); lost > 0 {
			t.Errorf("%s: %d connections lost", step.what, lost)
		}
		p.WaitUntil(10*time.Second, "one holder", func() bool { return len(p.Holders()) == 1 })
	}
}
