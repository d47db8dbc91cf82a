package netlink

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

// No machine has this family, so the error is tested on every machine: the same path as
// Open, with another name.
func TestOpenRefusesWithoutIPVS(t *testing.T) {
	loads := 0
	c, err := openClient("LVSD_NONE", func() error { loads++; return errors.New("exit status 1") })
	if c != nil || !errors.Is(err, ipvs.ErrUnavailable) {
		t.Fatalf("opened %v, %v", c, err)
	}
	if loads != 1 {
		t.Errorf("tried to load the module %d times", loads)
	}
	for _, want := range []string{"modprobe ip_vs", "exit status 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestFindFamily(t *testing.T) {
	loaded := false
	load := func() error { loaded = true; return nil }
	id, err := findFamily(func() (uint16, error) {
		if loaded {
			return 27, nil
		}
		return 0, unix.ENOENT
	}, load)
	if id != 27 || err != nil {
		t.Errorf("after loading: %d, %v", id, err)
	}
	id, err = findFamily(func() (uint16, error) { return 28, nil }, func() error { t.Error("loaded for nothing"); return nil })
	if id != 28 || err != nil {
		t.Errorf("there already: %d, %v", id, err)
	}
	// modprobe that succeeds without a family (an alias, "install ip_vs /bin/true").
	if _, err = findFamily(func() (uint16, error) { return 0, unix.ENOENT }, load); !errors.Is(err, ipvs.ErrUnavailable) {
		t.Errorf("loaded in vain: %v", err)
	}
	if _, err = findFamily(func() (uint16, error) { return 0, unix.EPERM }, load); !errors.Is(err, unix.EPERM) {
		t.Errorf("not permitted: %v", err)
	}
}

func TestFamilyLookup(t *testing.T) {
	c, err := dialNetlink(requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	// The controller is on every kernel and has the fixed number 16.
	if id, err := c.familyID("nlctrl"); id != ctrlFamily || err != nil {
		t.Errorf("nlctrl is %d, %v", id, err)
	}
	if id, err := c.familyID("LVSD_NONE"); id != 0 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("a family that does not exist is %d, %v", id, err)
	}
	// The socket is in step after a refusal.
	if id, err := c.familyID("nlctrl"); id != ctrlFamily || err != nil {
		t.Errorf("nlctrl is %d, %v", id, err)
	}
}

// A request without a reply ends in errNoReply instead of blocking.
func TestRequestDeadline(t *testing.T) {
	c, err := dialNetlink(20 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.port++ // so that the kernel's reply does not match
	if _, err := c.familyID("nlctrl"); !errors.Is(err, errNoReply) {
		t.Errorf("a request without an answer: %v", err)
	}
}

// A NOOP is acknowledged by netlink itself, which is how moby/ipvs without a
// family number takes every write for done. Our own requests never carry such a
// number: a family that is not found is an error before.
func TestNoopIsNoAnswer(t *testing.T) {
	c, err := dialNetlink(requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	err = c.request(unix.NLMSG_NOOP, cmdNewService, 0, encodeService(nil, ipvs.Service{Key: web, Scheduler: "wlc"}), nil)
	if err != nil {
		t.Fatalf("the trap is not there any more: %v", err)
	}
	without := &client{name: "LVSD_NONE"}
	if err = without.Apply(ipvs.Op{Kind: ipvs.AddService, Service: ipvs.Service{Key: web, Scheduler: "wlc"}}); !errors.Is(err, ipvs.ErrUnavailable) {
		t.Errorf("a write without IPVS: %v", err)
	}
}

// moby/ipvs waits forever for a lost reply; the deadline closes its handle, which ends
// the wait.
func TestMobyDeadline(t *testing.T) {
	h, err := moby.New("") // works without IPVS, which is its first danger
	if err != nil {
		t.Fatal(err)
	}
	w := &mobyWriter{h, 20 * time.Millisecond}
	err = w.do(func() error {
		for { // forever, unless the handle is closed
			if _, err := h.GetServices(); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, errNoReply) {
		t.Errorf("a request that never ends: %v", err)
	}
}

// After the module was reloaded the library has the number of the old one, which
// may be a stranger's by now: nothing may be written through it.
func TestMobyIsLeftAfterReload(t *testing.T) {
	mobyFamily.Lock()
	asked, id := mobyFamily.asked, mobyFamily.id
	mobyFamily.asked, mobyFamily.id = true, 27
	mobyFamily.Unlock()
	defer func() {
		mobyFamily.Lock()
		mobyFamily.asked, mobyFamily.id = asked, id
		mobyFamily.Unlock()
	}()
	current := func(id uint16) func() (uint16, error) { return func() (uint16, error) { return id, nil } }
	if w, err := openMoby(31, current(31), time.Second); w != nil || err != nil {
		t.Errorf("used under another number: %v, %v", w, err)
	}
	w, err := openMoby(27, current(27), time.Second)
	if w == nil || err != nil {
		t.Fatalf("not used under its number: %v", err)
	}
	w.close()
}

func TestMobyWritesServicesOnly(t *testing.T) {
	for _, c := range []struct {
		op   ipvs.Op
		want bool
	}{
		{ipvs.Op{Kind: ipvs.AddService, Service: ipvs.Service{Key: web, Scheduler: "wlc"}}, true},
		{ipvs.Op{Kind: ipvs.DeleteService, Service: ipvs.Service{Key: web, Scheduler: "wlc"}}, true},
		{ipvs.Op{Kind: ipvs.AddService, Service: ipvs.Service{Key: ipvs.ServiceKey{Mark: 7}, Scheduler: "wlc"}}, false},
		{ipvs.Op{Kind: ipvs.EditDestination, Service: ipvs.Service{Key: web, Scheduler: "wlc"}, Destination: ipvs.Destination{Address: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}}, false},
	} {
		if got := (&mobyWriter{}).supports(c.op); got != c.want {
			t.Errorf("%s: %v", c.op, got)
		}
	}
}

func TestClosedClient(t *testing.T) {
	c := &client{name: "LVSD_NONE"}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(); !errors.Is(err, ipvs.ErrUnavailable) {
		t.Errorf("read after close: %v", err)
	}
}

// TestMobyPanicIsAnError requires that a message which the library cannot parse does
// not end the process.
func TestMobyPanicIsAnError(t *testing.T) {
	h, err := moby.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	w := &mobyWriter{h, time.Second}
	if err := w.do(func() error { _ = make([]byte, 15)[16:]; return nil }); !errors.Is(err, errMalformed) {
		t.Errorf("a panic: %v", err)
	}
}

// FuzzMessages requires that no datagram causes a panic or an endless loop.
func FuzzMessages(f *testing.F) {
	b := encodeMessage(unix.NLMSG_ERROR, 0, 0, 7, 9, nil)
	f.Add(b)
	f.Add(b[:15])
	f.Fuzz(func(_ *testing.T, b []byte) {
		c := &conn{seq: 7, port: 9}
		var failed error
		_, _, _ = c.messages(b, &failed, func(msg []byte) error {
			_, _, err := decodeService(msg)
			return err
		})
	})
}
