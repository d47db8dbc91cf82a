package vrrp

import (
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/link"
)

func awaitInterface(c *Config) { c.AwaitInterface = true }

// An instance whose interface is missing, or has no address, begins in fault with the
// reason, and takes part once the interface works.
func TestInterfaceIsAwaited(t *testing.T) {
	for reason, broken := range map[string]func(*link.State){
		ReasonNoInterface: func(s *link.State) { *s = link.State{} },
		ReasonNoAddress:   func(s *link.State) { s.Primary = link.State{}.Primary },
	} {
		synctest.Test(t, func(t *testing.T) {
			h := new(lan).host(lb1)
			works := h.state
			h.set(broken)
			e := newEngine(config(awaitInterface), auth.Secret{}, Options{}, h, h.dial)
			if e.worker.prepare() == nil {
				t.Error("it says that the instance can run")
			}
			defer running(t, e)()
			time.Sleep(time.Minute)
			synctest.Wait()
			if s := e.Status(); s.State != Fault || s.Reason != reason || s.Detail == "" {
				t.Errorf("%s (%s: %s)", s.State, s.Reason, s.Detail)
			}
			h.set(func(s *link.State) { *s = works })
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if s := e.Status(); s.State != Master || len(h.holds()) != 1 {
				t.Errorf("%s (%s) with a working interface", s.State, s.Reason)
			}
		})
	}
}

// Open refuses a missing interface unless it is to be awaited.
func TestOpenAwaitsTheInterface(t *testing.T) {
	absent := func(c *Config) { c.Interface = "absent0" }
	if e, err := Open(config(absent), Options{}); err == nil {
		_ = e.Close()
		t.Error("opened without its interface")
	}
	e, err := Open(config(absent, awaitInterface), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Close()
}
