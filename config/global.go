// This file builds [[director]], [global] and [ipvs]: who shares the file, and
// the settings of the daemon and of the kernel's table as a whole.
//
// PURE.
package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// buildDirectors makes the directors, who must differ in name and address.
func buildDirectors(root *record) []Director {
	var all []Director
	names, addresses := map[string]Position{}, map[netip.Addr]Position{}
	for _, c := range root.records("director") {
		d := Director{Name: c.str("name"), Position: c.at}
		if c.good("name") {
			c.name("director", d.Name, names)
		}
		if c.set("address") && c.good("address") {
			a, complaint := ipAddress(c.str("address"))
			at, _ := c.where("address")
			first, twice := addresses[a]
			switch {
			case complaint != "":
				c.complain("address", "%s", complaint)
			case twice:
				c.complain("address", "%s is the address of the director at line %d already", a, first.Line)
			default:
				d.Address, addresses[a] = a, at
			}
		}
		all = append(all, d)
	}
	return all
}

// name judges a name that must be the only one of its kind.
func (c *record) name(kind, name string, taken map[string]Position) {
	if complaint := nameComplaint(name); complaint != "" {
		c.complain("name", "%s", complaint)
		return
	}
	if first, twice := taken[name]; twice {
		c.complain("name", "%q is the name of the %s at line %d already", name, kind, first.Line)
		return
	}
	at, _ := c.where("name")
	taken[name] = at
}

// buildGlobal makes the daemon's settings for one director.
func buildGlobal(c *record) Global {
	g := Global{
		HTTPListen:    c.str("http_listen"),
		WebConfigFile: c.str("web_config_file"),
		ControlSocket: c.str("control_socket"),
		ControlGroup:  c.str("control_group"),
		StateDir:      c.str("state_dir"),
		Notify:        c.notify(),
		Webhook:       c.webhook(),
		LogLevel:      c.str("log_level"),
		LogFormat:     c.str("log_format"),
		AutoReload:    c.flag("auto_reload"),

		PerServerMetrics: c.flag("per_server_metrics"),
	}
	if g.HTTPListen != "" && !listenable(g.HTTPListen) {
		c.complain("http_listen", `must be IP:PORT such as "127.0.0.1:8112", or ":8112" for all addresses, or "" for none, not %s`, quoted(g.HTTPListen))
	}
	if complaint := fileComplaint(g.WebConfigFile); g.WebConfigFile != "" && complaint != "" {
		c.complain("web_config_file", "%s", complaint)
	}
	switch complaint := fileComplaint(g.ControlSocket); {
	case complaint != "":
		c.complain("control_socket", "%s", complaint)
	case len(g.ControlSocket) > 107: // sun_path of unix(7) is 108 bytes with the NUL
		c.complain("control_socket", "must be at most 107 bytes for the kernel, not %d", len(g.ControlSocket))
	}
	if complaint := fileComplaint(g.StateDir); complaint != "" {
		c.complain("state_dir", "%s", complaint)
	}
	if strings.ContainsAny(g.ControlGroup, ": \t\r\n\x00") {
		c.complain("control_group", "is not the name of a group: %s", quoted(g.ControlGroup))
	}
	return g
}

// listenable says whether s is IP:PORT or :PORT.
func listenable(s string) bool {
	if port, all := strings.CutPrefix(s, ":"); all {
		n, err := strconv.ParseUint(port, 10, 16)
		return err == nil && n > 0 && strings.Trim(port, "0123456789") == ""
	}
	ap, err := netip.ParseAddrPort(s)
	return err == nil && ap.Port() > 0 && !ap.Addr().IsMulticast()
}

// buildIPVS makes the settings of the kernel's table for one director.
func buildIPVS(c, root *record) IPVS {
	for _, name := range []string{"timeout_tcp", "timeout_tcp_fin", "timeout_udp"} {
		c.wholeSeconds(name)
	}
	return IPVS{
		TimeoutTCP:     c.duration("timeout_tcp"),
		TimeoutTCPFin:  c.duration("timeout_tcp_fin"),
		TimeoutUDP:     c.duration("timeout_udp"),
		ManageSysctls:  c.flag("manage_sysctls"),
		ResyncInterval: c.duration("resync_interval"),
		OnStop:         c.str("on_stop"),
		Foreign:        c.str("foreign"),
		ThroughMarks:   uint32(c.num("through_marks")),
		Sync:           c.sync(root),
	}
}

// wholeSeconds refuses what the kernel, which counts seconds here, would cut.
func (c *record) wholeSeconds(name string) {
	if d := c.duration(name); d%time.Second != 0 {
		c.complain(name, "must be whole seconds, which is what the kernel counts here, not %s", d)
	}
}

// directorNames picks the directors' names out of the raw document, before it
// is measured: values that differ between directors are read by them.
func directorNames(document map[string]any) []string {
	var names []string
	add := func(v any) {
		if t, ok := v.(map[string]any); ok {
			if name, ok := t["name"].(string); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	switch all := document["director"].(type) {
	case []map[string]any:
		for _, d := range all[:min(len(all), maxDirectors)] {
			add(d)
		}
	case []any:
		for _, d := range all[:min(len(all), maxDirectors)] {
			add(d)
		}
	}
	return names
}
