// The client: ipvs.Kernel over one netlink socket and moby/ipvs, behind one lock. It keeps
// nothing but its sockets, and reopens them after the module was reloaded.

package netlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

const (
	familyName = "IPVS" // IPVS_GENL_NAME

	// requestTimeout is for one request, of a dump for each datagram. The kernel replies
	// in microseconds; only a lost reply takes longer.
	requestTimeout = 2 * time.Second

	modprobeTimeout = 5 * time.Second

	sysctlDir = "/proc/sys/net/ipv4/vs"
)

// Open opens the IPVS of the network namespace of the process and verifies that it
// replies. It loads the module if necessary. An error says what is missing and how to
// get it, and wraps ipvs.ErrUnavailable.
func Open() (ipvs.Kernel, error) {
	c, err := openClient(familyName, modprobe)
	if err != nil {
		return nil, err // not c: a nil *client is no nil Kernel
	}
	return c, nil
}

// client implements ipvs.Kernel.
type client struct {
	name string // name of the netlink family

	mu     sync.Mutex // one request at a time: no write during a dump
	conn   *conn      // nil after a failure; the next call opens it
	family uint16
	moby   *mobyWriter // nil if it cannot be used
	noMoby bool        // for tests of our own encoder
	closed bool
}

func openClient(name string, load func() error) (*client, error) {
	c := &client{name: name}
	conn, err := dialNetlink(requestTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ipvs.ErrUnavailable, err)
	}
	_, err = findFamily(func() (uint16, error) { return conn.familyID(name) }, load)
	conn.close()
	if err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	if _, err := c.Info(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// findFamily returns the family number. If there is none, it loads the module and looks
// it up again.
func findFamily(lookup func() (uint16, error), load func() error) (uint16, error) {
	id, err := lookup()
	if !errors.Is(err, unix.ENOENT) {
		return id, err
	}
	loadErr := load()
	id, err = lookup()
	if err == nil {
		return id, nil
	}
	const remedy = `this kernel has no IPVS: load its module with "modprobe ip_vs" (Debian: in linux-image-*, not in linux-image-cloud-*), or run a kernel with CONFIG_IP_VS`
	if loadErr != nil {
		return 0, fmt.Errorf("%w: %s (modprobe: %w)", ipvs.ErrUnavailable, remedy, loadErr)
	}
	return 0, fmt.Errorf("%w: %s (%w)", ipvs.ErrUnavailable, remedy, err)
}

func modprobe() error {
	ctx, cancel := context.WithTimeout(context.Background(), modprobeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "modprobe", "ip_vs").CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// open opens the sockets. c.mu must be held.
func (c *client) open() error {
	conn, err := dialNetlink(requestTimeout)
	if err != nil {
		return fmt.Errorf("%w: %w", ipvs.ErrUnavailable, err)
	}
	current := func() (uint16, error) { return conn.familyID(c.name) }
	id, err := current()
	if err != nil {
		conn.close()
		return c.familyError(err)
	}
	if !c.noMoby {
		if c.moby, err = openMoby(id, current, requestTimeout); errors.Is(err, unix.EPERM) {
			conn.close()
			return explain(err, "")
		} // without the library our own encoder writes the same
	}
	c.conn, c.family = conn, id
	return nil
}

// closeSockets closes the sockets. The next call opens new ones.
func (c *client) closeSockets() {
	if c.conn != nil {
		c.conn.close()
		c.conn = nil
	}
	if c.moby != nil {
		c.moby.close()
		c.moby = nil
	}
}

// Close closes the client. Later calls fail.
func (c *client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.closeSockets()
	return nil
}

// do calls f with open sockets. A lost reply closes them. After an error that a stale
// family number may have caused, it looks the number up, and if it changed because the
// module was reloaded, calls f once more with new sockets.
func (c *client) do(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("%w: closed", ipvs.ErrUnavailable)
	}
	for reopened := false; ; reopened = true {
		if c.conn == nil {
			if err := c.open(); err != nil {
				return err
			}
		}
		err := f()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errNoReply):
			c.closeSockets()
			return fmt.Errorf("%w: %w", ipvs.ErrUnavailable, err)
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) || reopened:
			return err
		}
		switch id, lookupErr := c.conn.familyID(c.name); {
		case lookupErr != nil:
			c.closeSockets()
			return c.familyError(lookupErr)
		case id == c.family:
			return err
		}
		c.closeSockets()
	}
}

// familyError returns the error of a failed family lookup.
func (c *client) familyError(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf(`%w: its module is not loaded (modprobe ip_vs)`, ipvs.ErrUnavailable)
	}
	return fmt.Errorf("%w: failed to look up netlink family %s: %w", ipvs.ErrUnavailable, c.name, err)
}

// explain adds to an errno of the kernel what it means here.
func explain(err error, what string) error {
	if errors.Is(err, unix.EPERM) && !errors.Is(err, ipvs.ErrUnavailable) {
		return fmt.Errorf("%w: not permitted: lvsd needs CAP_NET_ADMIN (root, or AmbientCapabilities= in its unit): %w", ipvs.ErrUnavailable, err)
	}
	if err != nil && what != "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// request sends one request with the present family number.
func (c *client) request(cmd uint8, flags uint16, attrs []byte, each func([]byte) error) error {
	return c.conn.request(c.family, cmd, flags, attrs, each)
}

func (c *client) Info() (info ipvs.Info, err error) {
	err = c.do(func() error {
		return c.request(cmdGetInfo, 0, nil, func(msg []byte) (err error) {
			info, err = decodeInfo(msg)
			return err
		})
	})
	return info, explain(err, "failed to read the IPVS version")
}

func (c *client) Read() (ipvs.Reading, error) {
	var r ipvs.Reading
	err := c.do(func() (err error) {
		r, err = c.read()
		return err
	})
	return r, explain(err, "failed to read the IPVS table")
}

// read dumps the services, then the destinations of each. The kernel continues a dump by
// index after each datagram: an entry that another process adds or deletes meanwhile can
// make others appear twice, or be missing until the next dump.
func (c *client) read() (ipvs.Reading, error) {
	r := ipvs.Reading{Table: ipvs.Table{}, Stats: map[ipvs.ServiceKey]ipvs.ServiceStats{}}
	err := c.request(cmdGetService, unix.NLM_F_DUMP, nil, func(msg []byte) error {
		s, stats, err := decodeService(msg)
		if err == nil {
			s.Destinations = map[netip.AddrPort]ipvs.Destination{}
			r.Table[s.Key] = s
			stats.Destinations = map[netip.AddrPort]ipvs.DestinationStats{}
			r.Stats[s.Key] = stats
		}
		return err
	})
	if err != nil {
		return ipvs.Reading{}, err
	}
	for k, s := range r.Table {
		stats := r.Stats[k].Destinations
		err := c.request(cmdGetDest, unix.NLM_F_DUMP, encodeKey(nil, k), func(msg []byte) error {
			d, ds, err := decodeDest(msg, keyFamily(k))
			if err == nil {
				s.Destinations[d.Address] = d
				stats[d.Address] = ds
			}
			return err
		})
		if err != nil {
			return ipvs.Reading{}, err
		}
	}
	return r, nil
}

func (c *client) Apply(op ipvs.Op) error {
	err := c.do(func() error {
		if c.moby != nil && c.moby.supports(op) {
			return c.moby.apply(op)
		}
		cmd, attrs, err := encodeOp(op)
		if err != nil {
			return err
		}
		return c.request(cmd, 0, attrs, nil)
	})
	return explain(err, c.hint(op, err))
}

// hint returns what an errno of a write means, or "".
func (c *client) hint(op ipvs.Op, err error) string {
	service := op.Kind == ipvs.AddService || op.Kind == ipvs.EditService
	switch {
	case errors.Is(err, unix.ENOENT) && service && op.Service.Engine != "":
		return fmt.Sprintf("no scheduler %q or engine %q in this kernel", op.Service.Scheduler, op.Service.Engine)
	case errors.Is(err, unix.ENOENT) && service:
		return fmt.Sprintf("no scheduler %q in this kernel (module ip_vs_%s)", op.Service.Scheduler, op.Service.Scheduler)
	case errors.Is(err, unix.EINVAL) && !service:
		return "address neither local nor unicast, or its family or tunnel does not match the service"
	}
	return ""
}

func (c *client) Timeouts() (t ipvs.Timeouts, err error) {
	err = c.do(func() error {
		return c.request(cmdGetConfig, 0, nil, func(msg []byte) (err error) {
			t, err = decodeTimeouts(msg)
			return err
		})
	})
	return t, explain(err, "failed to read the IPVS timeouts")
}

func (c *client) SetTimeouts(t ipvs.Timeouts) error {
	err := c.do(func() error {
		if c.moby != nil {
			return c.moby.setTimeouts(t)
		}
		return c.request(cmdSetConfig, 0, encodeTimeouts(t), nil)
	})
	return explain(err, "failed to set the IPVS timeouts")
}

// Zero implements ipvs.Kernel.
func (c *client) Zero(k *ipvs.ServiceKey) error {
	err := c.do(func() error { return c.request(cmdZero, 0, encodeZero(k), nil) })
	return explain(err, "failed to reset the IPVS counters")
}

// Daemons implements ipvs.Kernel. GET_DAEMON is a dump of the daemons that run.
func (c *client) Daemons() (s ipvs.SyncState, err error) {
	err = c.do(func() error {
		s = ipvs.SyncState{}
		return c.request(cmdGetDaemon, unix.NLM_F_DUMP, nil, func(msg []byte) error { return decodeDaemon(msg, &s) })
	})
	return s, explain(err, "failed to read the state of the connection synchronisation")
}

// StartDaemon implements ipvs.Kernel.
func (c *client) StartDaemon(role ipvs.SyncRole, cfg ipvs.SyncConfig) error {
	err := c.do(func() error { return c.request(cmdNewDaemon, 0, encodeDaemon(role, cfg), nil) })
	what := fmt.Sprintf("failed to start the %s of the connection synchronisation on %s", role, cfg.Interface)
	switch {
	case errors.Is(err, unix.ENODEV):
		what += " (there is no such interface)"
	case errors.Is(err, unix.EINVAL):
		what += " (it does not support real servers of another address family than their service)"
	}
	return explain(err, what)
}

// StopDaemon implements ipvs.Kernel. A kernel thread that is stopped before it ran ends
// with EINTR (kthread in kernel/kthread.c), to which netlink sends no reply
// (netlink_rcv_skb in net/netlink/af_netlink.c): then it reads which daemons run.
func (c *client) StopDaemon(role ipvs.SyncRole) error {
	err := c.do(func() error { return c.request(cmdDelDaemon, 0, encodeRole(role), nil) })
	if errors.Is(err, errNoReply) {
		if s, e := c.Daemons(); e == nil && !s.Daemon(role).Running {
			return nil
		}
	}
	return explain(err, fmt.Sprintf("failed to stop the %s of the connection synchronisation", role))
}

// Interface implements ipvs.Kernel.
func (c *client) Interface(name string) (index, mtu int, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, 0, fmt.Errorf("failed to look up interface %s: %w", name, err)
	}
	return i.Index, i.MTU, nil
}

// OpenConnections opens the list of connections of the calling thread's namespace.
func (c *client) OpenConnections() (io.ReadCloser, error) {
	return os.Open("/proc/thread-self/net/ip_vs_conn_sync")
}

// Sysctl implements ipvs.Kernel.
func (c *client) Sysctl(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysctlDir, name))
	return strings.TrimSpace(string(b)), err
}

// SetSysctl implements ipvs.Kernel.
func (c *client) SetSysctl(name, value string) error {
	return os.WriteFile(filepath.Join(sysctlDir, name), []byte(value), 0o644)
}
