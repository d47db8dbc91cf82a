// Writes through moby/ipvs, with its dangers kept from the user. The library
// looks up the family's number once in a process, reports success when that
// lookup failed, waits for ever for a lost answer and logs on its own. So its
// number is proven right before it is used, and a handle that is late is closed
// under it.

package netlink

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

// mobyFamily is the one family number that the library has for the life of the
// process; 0 is one that it did not find.
var mobyFamily struct {
	sync.Mutex
	asked bool
	id    uint16
}

// mobyWriter writes services through moby/ipvs.
type mobyWriter struct {
	h       *moby.Handle
	timeout time.Duration
}

// openMoby returns nil when the library can't be used under that family
// number: after the module was reloaded it keeps the old one.
func openMoby(id uint16, current func() (uint16, error), timeout time.Duration) (*mobyWriter, error) {
	mobyFamily.Lock()
	defer mobyFamily.Unlock()
	if mobyFamily.asked && mobyFamily.id != id {
		return nil, nil
	}
	if !mobyFamily.asked {
		logrus.SetOutput(io.Discard) // nobody else here uses logrus
	}
	h, err := moby.New("")
	if err != nil {
		return nil, fmt.Errorf("failed to open moby/ipvs: %w", err)
	}
	w := &mobyWriter{h, timeout}
	if mobyFamily.asked {
		return w, nil
	}
	// Numbers are given out in turn and do not come back soon: when it is the
	// same before and after, the library saw this one, unless it saw none.
	// Only an answer with contents proves that.
	mobyFamily.asked = true
	after, err := current()
	if err == nil {
		err = w.verify()
	}
	if err != nil || after != id {
		h.Close()
		return nil, err
	}
	mobyFamily.id = id
	return w, nil
}

// verify returns an error unless IPVS itself replies. With no family number netlink
// acknowledges the library's request as a NOOP, without contents, on which it panics.
func (w *mobyWriter) verify() error {
	err := w.do(func() error {
		_, err := w.h.GetConfig()
		return err
	})
	if errors.Is(err, errMalformed) {
		return fmt.Errorf("%w: moby/ipvs found no IPVS", ipvs.ErrUnavailable)
	}
	return err
}

func (w *mobyWriter) close() { w.h.Close() }

var errMalformed = errors.New("the netlink library panicked on a message of the kernel")

// do runs one request. At the deadline it closes the handle, the only way to end the
// library's wait. The library indexes what it reads without checking the length: a
// panic is returned as an error.
func (w *mobyWriter) do(request func() error) (err error) {
	watchdog := time.AfterFunc(w.timeout, w.h.Close)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errMalformed, p)
		}
		if !watchdog.Stop() {
			err = errNoReply
		}
	}()
	return request()
}

// can says whether the library is to do the write: those of services by address.
// Destinations are left to our own messages: for each request the library takes
// 64 KiB for the answer, which made filling 2,000 servers take two to four times
// as long, and an edit by it sets a tunnel back to ipip.
func (w *mobyWriter) can(op ipvs.Op) bool {
	return op.Service.Key.Mark == 0 && !op.Destination.Address.IsValid()
}

func (w *mobyWriter) apply(op ipvs.Op) error {
	s := mobyService(op.Service)
	return w.do(func() error {
		switch op.Kind {
		case ipvs.AddService:
			return w.h.NewService(s)
		case ipvs.EditService:
			return w.h.UpdateService(s)
		case ipvs.DeleteService:
			return w.h.DelService(s)
		}
		return unix.EINVAL
	})
}

func (w *mobyWriter) setTimeouts(t ipvs.Timeouts) error {
	return w.do(func() error {
		return w.h.SetConfig(&moby.Config{TimeoutTCP: t.TCP, TimeoutTCPFin: t.TCPFin, TimeoutUDP: t.UDP})
	})
}

func mobyService(s ipvs.Service) *moby.Service {
	return &moby.Service{
		Address:       s.Key.Address.Addr().AsSlice(),
		Protocol:      uint16(s.Key.Protocol),
		Port:          s.Key.Address.Port(),
		AddressFamily: family(s.Key.Address.Addr()),
		SchedName:     s.Scheduler,
		Flags:         kernelFlags(s),
		Timeout:       s.Persistence,
		Netmask:       kernelNetmask(s),
		PEName:        s.Engine,
	}
}
