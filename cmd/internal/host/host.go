// The checks of `lvsd check --host`.

package host

import (
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/config"
	"lvsd/ipvs/netlink"
)

// Check returns what of this machine would refuse a start of any such configuration,
// and everything that the configuration needs of its kernel. What the parts of the
// daemon refuse themselves is left to them.
func Check(c *config.Config) (mistakes []error, findings []Finding) {
	mistakes = append(mistakes, rights(c)...)
	if err := kernel(); err != nil {
		mistakes = append(mistakes, err)
	}
	return mistakes, Findings(c)
}

// rights names the capabilities that this process lacks.
func rights(c *config.Config) []error {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return []error{fmt.Errorf("failed to read this process's capabilities: %w", err)}
	}
	lacks := func(capabilities ...capability) string {
		var missing []string
		for _, c := range capabilities {
			if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
				missing = append(missing, c.name)
			}
		}
		return strings.Join(missing, " and ")
	}
	var all []error
	if missing := lacks(capability{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, capability{unix.CAP_NET_RAW, "CAP_NET_RAW"}); missing != "" {
		all = append(all, fmt.Errorf("this process lacks %s: run as root, or from a unit with AmbientCapabilities= such as cmd/lvsd/package/lvsd.service; capabilities on the binary would let every local user add addresses to an interface", missing))
	}
	if name := otherUser(c); name != "" {
		if missing := lacks(capability{unix.CAP_SETUID, "CAP_SETUID"}, capability{unix.CAP_SETGID, "CAP_SETGID"}); missing != "" {
			all = append(all, fmt.Errorf("a check runs its program as %s, and this process lacks %s: run as root, or add these capabilities (a drop-in of lvsd.service)", name, missing))
		}
	}
	return all
}

// Warnings returns what is allowed, and worth knowing.
func Warnings(c *config.Config) []string {
	return slices.Concat(programs(c), unreadable(c), unfilteredSync(c.IPVS.Sync))
}

// unfilteredSync warns of connections that are accepted from whoever sends them.
func unfilteredSync(s *config.Sync) []string {
	if s == nil || len(s.Sources) > 0 {
		return nil
	}
	return []string{fmt.Sprintf("[ipvs.sync] accepts connections from any host that sends to %v on %s, as the kernel does not authenticate them: reserve that network for the directors, or list their addresses in sources and run `lvsd host prepare`",
		netip.AddrPortFrom(s.Group, s.Port), s.Interface)}
}

// programs warns of those that run as the daemon's user.
func programs(c *config.Config) []string {
	var programs []string
	add := func(of string, command []string) {
		if text := of + " " + strings.Join(command[:min(1, len(command))], ""); len(command) > 0 && !slices.Contains(programs, text) {
			programs = append(programs, text)
		}
	}
	notify := func(commands ...[]string) {
		for _, command := range commands {
			if c.Global.NotifyUser == "" {
				add("notify", command)
			}
		}
	}
	notify(c.Global.Notify)
	for _, g := range c.SyncGroups {
		notify(g.NotifyMaster, g.NotifyBackup, g.NotifyFault, g.NotifyStop)
	}
	for _, i := range c.Instances {
		notify(i.Notify, i.NotifyMaster, i.NotifyBackup, i.NotifyFault, i.NotifyStop)
		for _, s := range i.TrackScripts {
			add("script", s.Command)
		}
	}
	for _, svc := range c.Services {
		notify(svc.QuorumUp, svc.QuorumDown)
		for _, rs := range svc.RealServers {
			notify(rs.NotifyUp, rs.NotifyDown)
			for _, check := range rs.Checks {
				if check.User == "" {
					add("check", check.Command)
				}
			}
		}
	}
	if len(programs) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("run as the daemon's own user: %s: such a program can read the keys, write state_dir and control the daemon; make it writable by root only, and set notify_user and the user of checks", strings.Join(programs, ", "))}
}

type capability struct {
	bit  int
	name string
}

// otherUser returns the user that a check's program runs as, if that is not ours.
func otherUser(c *config.Config) string {
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			for _, check := range rs.Checks {
				if u, err := user.Lookup(check.User); check.User != "" && (err != nil || u.Uid != fmt.Sprint(os.Geteuid())) {
					return check.User
				}
			}
		}
	}
	return ""
}

// kernel returns an error unless IPVS replies.
func kernel() error {
	k, err := netlink.Open()
	if err != nil {
		return err
	}
	return k.Close()
}

// read returns a sysctl, or "" where the kernel has none of that name.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
