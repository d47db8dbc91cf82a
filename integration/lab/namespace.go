// Network namespaces and the threads in them: what runs "on a host" runs here.

package lab

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a named network namespace (visible to `ip netns`), a netlink handle in
// it, and one thread that stays in it.
type namespace struct {
	name   string
	handle netns.NsHandle
	origin netns.NsHandle
	nl     *netlink.Handle

	// work runs on the namespace's own thread, which lives as long as the lab. Children are
	// started there: the kernel sends the parent-death signal when the parent thread ends,
	// so a child of a pooled thread could be killed at any time.
	work chan func()
	end  chan struct{}
}

// newNamespace makes a namespace of the lab and registers its removal.
func (l *Lab) newNamespace(name string) *namespace {
	l.tb.Helper()
	ns := &namespace{
		name:   l.prefix + "-" + name,
		origin: l.origin,
		work:   make(chan func()),
		end:    make(chan struct{}),
	}
	made := make(chan error)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		// Never unlocked: the thread ends with this goroutine, so no other goroutine gets a
		// thread in another namespace.
		runtime.LockOSThread()
		var err error
		if ns.handle, err = netns.NewNamed(ns.name); err != nil {
			made <- err
			return
		}
		// Only NETLINK_ROUTE: the library's default also opens families that a small kernel may
		// lack.
		ns.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		made <- err
		for {
			select {
			case f := <-ns.work:
				f()
			case <-ns.end:
				return
			}
		}
	}()
	err := <-made
	l.onClose(func() {
		close(ns.end)
		<-gone
		if ns.nl != nil {
			ns.nl.Close()
		}
		if ns.handle > 0 {
			ns.handle.Close()
			if err := netns.DeleteNamed(ns.name); err != nil {
				l.tb.Logf("failed to delete namespace %s: %v", ns.name, err)
			}
		}
	})
	l.must(err, "make network namespace %s (root or CAP_SYS_ADMIN is needed)", ns.name)
	l.must(ns.linkUp("lo"), "bring lo up in %s", ns.name)
	return ns
}

// onThread runs f on the namespace's own thread, one call at a time. It is for short
// operations and for starting children; f must not block.
func (ns *namespace) onThread(f func() error) error {
	errc := make(chan error, 1)
	select {
	case ns.work <- func() { errc <- f() }:
		return <-errc
	case <-ns.end:
		return errors.New("the lab is closed")
	}
}

// do runs f on a thread of its own in the namespace; f may block. Sockets that f opens
// stay in the namespace, wherever they are used later.
func (ns *namespace) do(f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(ns.handle); err != nil {
			runtime.UnlockOSThread()
			errc <- fmt.Errorf("failed to enter namespace %s: %w", ns.name, err)
			return
		}
		// A goroutine that ends locked ends its thread, which happens if f panics or ends the
		// goroutine, or if the return to the namespace fails.
		err, returned := errors.New("the function ended its goroutine"), false
		defer func() {
			if !returned {
				errc <- err
			}
		}()
		err = f()
		returned = true
		if netns.Set(ns.origin) == nil {
			runtime.UnlockOSThread()
		}
		errc <- err
	}()
	return <-errc
}

func (ns *namespace) linkUp(name string) error {
	link, err := ns.nl.LinkByName(name)
	if err != nil {
		return err
	}
	return ns.nl.LinkSetUp(link)
}

func (ns *namespace) operational(name string) bool {
	link, err := ns.nl.LinkByName(name)
	return err == nil && link.Attrs().OperState == netlink.OperUp
}
