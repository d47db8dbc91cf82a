// Package host looks at the machine that a configuration is to run on: its
// interfaces, its IPVS, the rights of this process. It changes nothing (a
// missing ip_vs module is loaded, as a start would do).
package host

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/config"
	"lvsd/ipvs"
)

// Check answers everything that would refuse a start of this configuration on
// this machine, and warnings of what would start but hardly work.
func Check(c *config.Config) (mistakes []error, warnings []string) {
	mistakes = append(mistakes, rights()...)
	mistakes = append(mistakes, Interfaces(c)...)
	if err := kernel(); err != nil {
		mistakes = append(mistakes, err)
	}
	mistakes = append(mistakes, Schedulers(c)...)
	return mistakes, sysctls(c)
}

// rights names the capabilities that this process lacks.
func rights() []error {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return []error{fmt.Errorf("failed to read this process's capabilities: %w", err)}
	}
	var missing []string
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if missing == nil {
		return nil
	}
	return []error{fmt.Errorf("this process lacks %s: run as root, or give the binary these capabilities", strings.Join(missing, " and "))}
}

// Interfaces answers an error for each interface that cannot carry its election.
func Interfaces(c *config.Config) []error {
	var mistakes []error
	for _, e := range c.Elections {
		if err := usable(e.Interface); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d:%d: vrrp %s: %w", c.File, e.Line, e.Col, e.Name, err))
		}
	}
	return mistakes
}

// usable tells what keeps an interface from carrying an election over IPv4.
func usable(name string) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("there is no interface %s here (there are: %s)", name, strings.Join(interfaceNames(), ", "))
	}
	addrs, err := link.Addrs()
	if err != nil {
		return fmt.Errorf("failed to read the addresses of %s: %w", name, err)
	}
	if !slices.ContainsFunc(addrs, func(a net.Addr) bool { ip, ok := a.(*net.IPNet); return ok && ip.IP.To4() != nil }) {
		return fmt.Errorf("interface %s has no IPv4 address, adverts need one as their source: give it one", name)
	}
	if link.Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	return nil
}

func interfaceNames() []string {
	links, _ := net.Interfaces()
	names := make([]string, len(links))
	for i, l := range links {
		names[i] = l.Name
	}
	return names
}

// kernel proves that IPVS answers.
func kernel() error {
	k, err := ipvs.OpenKernel()
	if err != nil {
		return err
	}
	return k.Close()
}

// Schedulers answers an error for each scheduler that this kernel lacks.
func Schedulers(c *config.Config) []error {
	var mistakes []error
	seen := map[string]bool{}
	for _, s := range c.Services {
		if seen[s.Scheduler] {
			continue
		}
		seen[s.Scheduler] = true
		if err := ipvs.CheckScheduler(s.Scheduler); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d:%d: virtual_service %s: %w", c.File, s.Line, s.Col, s.Name, err))
		}
	}
	return mistakes
}

// sysctls warns of kernel settings under which a configuration runs but does
// not do what it says.
func sysctls(c *config.Config) []string {
	var warnings []string
	for _, f := range Findings(c) {
		if !f.OK && (f.Kind == "sysctl" || f.Kind == "address") {
			warnings = append(warnings, f.String())
		}
	}
	return warnings
}

// read answers a sysctl, or "" where the kernel has none of that name.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
