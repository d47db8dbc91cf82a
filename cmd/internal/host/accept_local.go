// What mark probes need of this machine while there are any: a real server's reply comes
// from the service's address, which on a master is an address of this host, and the
// kernel would drop it as forged.

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/sysctl"
)

// SysctlStore keeps what settings were before they were changed, so that they are
// restored after a crash too.
type SysctlStore interface {
	LoadSysctls() (map[string]string, error)
	SaveSysctls(map[string]string) error
}

// ReplyAcceptor makes interfaces take such answers, and restores them. It must not be
// used by two goroutines at once.
type ReplyAcceptor struct {
	Store SysctlStore // nil: nothing is changed
	Log   *slog.Logger
}

// acceptLocal are the settings of an interface, in the order in which they are
// changed; rp_filter holds as the higher of the interface's and all's, which is
// never lowered here (ip-sysctl.rst).
var acceptLocal = []struct{ name, want string }{{"accept_local", "1"}, {"rp_filter", "0"}}

func setting(dev, name string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(dev, ".", "/") + "." + name
}

// Route returns which address of this host packets to a real server leave from,
// and by which interface.
func (t ReplyAcceptor) Route(to netip.Addr) (from netip.Addr, by string, err error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}, "", fmt.Errorf("no route to it: %w (ip route get %s)", cmpErr(err, unix.ENETUNREACH), to)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("the route to it has no interface: %w", err)
	}
	src, ok := netip.AddrFromSlice(routes[0].Src)
	if !ok {
		return netip.Addr{}, "", fmt.Errorf("%s has no source address", link.Attrs().Name)
	}
	return src.Unmap(), link.Attrs().Name, nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// AcceptLocal makes these interfaces take answers from addresses of this host,
// and restores all others that it changed before. What was found is written down
// before it is changed.
func (t ReplyAcceptor) AcceptLocal(interfaces []string) error {
	if t.Store == nil {
		return nil
	}
	found, err := t.Store.LoadSysctls()
	failed := []error{err} // the checks need the settings anyway
	if found == nil {
		found = map[string]string{}
	}
	for _, dev := range interfaces {
		for _, s := range acceptLocal {
			failed = append(failed, t.set(setting(dev, s.name), s.want, found))
		}
		if value(setting("all", "rp_filter")) != "0" {
			failed = append(failed, fmt.Errorf("net.ipv4.conf.all.rp_filter is not 0 and applies to %s as well: replies to checks with through may be dropped while this director is master (set net.ipv4.conf.all.rp_filter = 0, and rp_filter on the interfaces that need it)", dev))
		}
	}
	for name, was := range found {
		if slices.ContainsFunc(interfaces, func(dev string) bool {
			return name == setting(dev, "accept_local") || name == setting(dev, "rp_filter")
		}) {
			continue
		}
		failed = append(failed, t.restore(name, was, found))
	}
	return errors.Join(failed...)
}

func (t ReplyAcceptor) set(name, want string, found map[string]string) error {
	have := value(name)
	if have == want || have == "" {
		return nil
	}
	var unsaved error
	if _, known := found[name]; !known {
		found[name] = have
		if err := t.Store.SaveSysctls(found); err != nil {
			unsaved = fmt.Errorf("%s will not be restored to %s: %w", name, have, err)
		}
	}
	if err := sysctl.Write(name, want); err != nil {
		return errors.Join(unsaved, fmt.Errorf("failed to set %s: %w", name, err))
	}
	t.Log.Info("kernel setting changed", "setting", name, "from", have, "to", want, "reason", "checks with through")
	return unsaved
}

// restore sets back what was found, unless another process has changed it since or
// the interface is gone.
func (t ReplyAcceptor) restore(name, was string, found map[string]string) error {
	want := "1"
	if strings.HasSuffix(name, ".rp_filter") {
		want = "0"
	}
	if value(name) == want {
		if err := sysctl.Write(name, was); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("failed to restore %s: %w", name, err)
		}
		t.Log.Info("kernel setting restored", "setting", name, "to", was)
	}
	delete(found, name)
	return t.Store.SaveSysctls(found)
}
