// Writing services through moby/ipvs. The library looks up the family number once per
// process, reports success if that lookup failed, waits without a limit for a lost reply,
// and logs by itself. Therefore its number is verified before it is used, and its handle
// is closed at a deadline.

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

// mobyFamily is the family number that the library has for the life of the process; 0
// if it did not find one.
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

// openMoby returns nil if the library cannot be used with that family number: it keeps
// the old one after the module was reloaded.
func openMoby(id uint16, current func() (uint16, error), timeout time.Duration) (*mobyWriter, error) {
	mobyFamily.Lock()
	defer mobyFamily.Unlock()
	if mobyFamily.asked && mobyFamily.id != id {
		return nil, nil
	}
	if !mobyFamily.asked {
		logrus.SetOutput(io.Discard) // only this library uses logrus
	}
	h, err := moby.New("")
	if err != nil {
		return nil, fmt.Errorf("failed to open moby/ipvs: %w", err)
	}
	w := &mobyWriter{h, timeout}
	if mobyFamily.asked {
		return w, nil
	}
	// Numbers are assigned in order and are not reused soon: if it is the same before
	// and after, the library has this one, or none. A reply with contents shows which.
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

// supports reports whether the library does the write: those of services by address do.
// For destinations the library allocates 64 KiB per request, which made adding 2,000
// servers two to four times as slow, and its edits reset a tunnel to ipip.
func (w *mobyWriter) supports(op ipvs.Op) bool {
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
