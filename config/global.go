// [[director]], [global], [ipvs] and [ipvs.sync].

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// buildDirectors builds the directors, which must differ in name and address.
func buildDirectors(root *reader.Table) []Director {
	var all []Director
	names, addresses := map[string]Position{}, map[netip.Addr]Position{}
	for _, t := range root.Tables("director") {
		d := Director{Name: t.Str("name"), Position: t.Start}
		if t.Valid("name") {
			claimName(t, "director", d.Name, names)
		}
		if t.IsSet("address") && t.Valid("address") {
			a, problem := values.ParseIP(t.Str("address"))
			at, _ := t.Locate("address")
			first, twice := addresses[a]
			switch {
			case problem != "":
				t.Errorf("address", "%s", problem)
			case twice:
				t.Errorf("address", "%s is the address of the director at %s already", a, t.Where(first))
			default:
				d.Address, addresses[a] = a, at
			}
		}
		all = append(all, d)
	}
	return all
}

// claimName validates a name, which must be unique among its kind.
func claimName(t *reader.Table, kind, name string, taken map[string]Position) {
	if problem := values.CheckName(name); problem != "" {
		t.Errorf("name", "%s", problem)
		return
	}
	if first, twice := taken[name]; twice {
		t.Errorf("name", "%q is the name of the %s at %s already", name, kind, t.Where(first))
		return
	}
	at, _ := t.Locate("name")
	taken[name] = at
}

// buildGlobal builds the daemon's settings for one director.
func buildGlobal(t *reader.Table) Global {
	g := Global{
		HTTPListen:    t.Str("http_listen"),
		WebConfigFile: t.Str("web_config_file"),
		ControlSocket: t.Str("control_socket"),
		ControlGroup:  t.Str("control_group"),
		StateDir:      t.Str("state_dir"),
		Notify:        notifyCommand(t, "notify"),
		NotifyUser:    t.Str("notify_user"),
		Webhook:       webhookURL(t),
		WebhookFormat: t.Str("webhook_format"),
		WebhookKinds:  t.Strings("webhook_kinds"),
		LogLevel:      t.Str("log_level"),
		LogFormat:     t.Str("log_format"),
		AutoReload:    t.Bool("auto_reload"),

		PerServerMetrics: t.Bool("per_server_metrics"),
	}
	if g.HTTPListen != "" && !values.IsListenAddress(g.HTTPListen) {
		t.Errorf("http_listen", `must be IP:PORT such as "127.0.0.1:8112", or ":8112" for all addresses, or "" for none, not %s`, values.Quote(g.HTTPListen))
	}
	if problem := values.CheckPath(g.WebConfigFile); g.WebConfigFile != "" && problem != "" {
		t.Errorf("web_config_file", "%s", problem)
	}
	switch problem := values.CheckPath(g.ControlSocket); {
	case problem != "":
		t.Errorf("control_socket", "%s", problem)
	case len(g.ControlSocket) > 107: // sun_path of unix(7) is 108 bytes with the NUL
		t.Errorf("control_socket", "must be at most 107 bytes for the kernel, not %d", len(g.ControlSocket))
	}
	if problem := values.CheckPath(g.StateDir); problem != "" {
		t.Errorf("state_dir", "%s", problem)
	}
	if strings.ContainsAny(g.ControlGroup, ": \t\r\n\x00") {
		t.Errorf("control_group", "is not the name of a group: %s", values.Quote(g.ControlGroup))
	}
	return g
}

// buildIPVS builds the settings of the kernel's table for one director.
func buildIPVS(t, root *reader.Table) IPVS {
	for _, name := range []string{"timeout_tcp", "timeout_tcp_fin", "timeout_udp"} {
		requireWholeSeconds(t, name)
	}
	return IPVS{
		TimeoutTCP:     t.Duration("timeout_tcp"),
		TimeoutTCPFin:  t.Duration("timeout_tcp_fin"),
		TimeoutUDP:     t.Duration("timeout_udp"),
		ManageSysctls:  t.Bool("manage_sysctls"),
		ResyncInterval: t.Duration("resync_interval"),
		OnStop:         t.Str("on_stop"),
		Foreign:        t.Str("foreign"),
		ProbeMarkBase:  uint32(t.Int("through_marks")),
		Sync:           buildSync(t, root),
	}
}

// requireWholeSeconds refuses fractions of a second, which the kernel would cut off.
func requireWholeSeconds(t *reader.Table, name string) {
	if d := t.Duration(name); d%time.Second != 0 {
		t.Errorf(name, "must be whole seconds, which is what the kernel counts here, not %s", d)
	}
}

// buildSync builds [ipvs.sync] for the table's director; nil when it is not set.
func buildSync(parent *reader.Table, root *reader.Table) *Sync {
	t, ok := parent.Value("sync").(*reader.Table)
	if !ok {
		return nil
	}
	t = t.For(parent.Director)
	s := &Sync{
		Interface:     t.Str("interface"),
		ID:            uint8(t.Int("id")),
		VRRP:          t.Str("vrrp"),
		Port:          uint16(t.Int("port")),
		TTL:           uint8(t.Int("ttl")),
		MaxLen:        int(t.Int("maxlen")),
		RefreshPeriod: t.Duration("refresh_period"),
	}
	if t.Valid("interface") {
		if problem := values.CheckInterface(s.Interface); problem != "" {
			t.Errorf("interface", "%s", problem)
		}
	}
	requireWholeSeconds(t, "refresh_period")
	s.VRRP = syncInstance(t, root)
	s.Group = syncGroupAddress(t)
	s.Sources = syncSources(t, s.Group)
	if s.MaxLen > 0 && s.MaxLen < schema.MinDatagram {
		t.Errorf("maxlen", "must be 0, which lets the interface's MTU decide, or %d to %d, not %d", schema.MinDatagram, schema.MaxDatagram, s.MaxLen)
	}
	s.Threshold = syncThreshold(t)
	if !parent.Bool("manage_sysctls") && (t.IsSet("threshold") || t.IsSet("refresh_period")) {
		name := "threshold"
		if !t.IsSet(name) {
			name = "refresh_period"
		}
		t.Warnf(name, "has no effect with manage_sysctls = false: net.ipv4.vs.sync_threshold and sync_refresh_period are then yours to set")
	}
	return s
}

// syncSources reads the addresses that messages are accepted from.
func syncSources(t *reader.Table, group netip.Addr) []netip.Addr {
	var sources []netip.Addr
	for i, s := range t.Strings("sources") {
		a, problem := values.ParseIP(s)
		switch {
		case problem != "":
		case group.IsValid() && a.Is4() != group.Is4():
			problem = fmt.Sprintf("%s cannot send to group %s, which is of the other address family", a, group)
		case slices.Contains(sources, a):
			problem = a.String() + " is listed twice"
		}
		if problem != "" {
			at, p := t.LocateItem("sources", i)
			t.ErrorAt(at, p, "%s", problem)
			continue
		}
		sources = append(sources, a)
	}
	if len(sources) == 1 {
		t.Errorf("sources", "names one director: the messages of the other would be dropped")
	}
	return sources
}

// syncInstance reads the instance that status and warnings refer to.
func syncInstance(t *reader.Table, root *reader.Table) string {
	var names []string
	for _, e := range root.Tables("vrrp") {
		if name := e.Str("name"); name != "" {
			names = append(names, name)
		}
	}
	switch name := t.Str("vrrp"); {
	case t.IsSet("vrrp") && t.Valid("vrrp") && root.Valid("vrrp") && !slices.Contains(names, name):
		t.Errorf("vrrp", "no [[vrrp]] has the name %s%s", values.Quote(name), schema.Suggest(name, names))
		return ""
	case t.IsSet("vrrp"):
		return name
	case len(names) > 0:
		return names[0]
	}
	return ""
}

// syncGroupAddress reads the address that connections are sent to.
func syncGroupAddress(t *reader.Table) netip.Addr {
	s := t.Str("group")
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || !a.IsMulticast() || a.Is4In6():
		t.Errorf("group", `must be a multicast address such as "224.0.0.81", not %s`, values.Quote(s))
		return netip.Addr{}
	case a.Zone() != "":
		t.Errorf("group", "must be without a zone: interface says where")
		return netip.Addr{}
	}
	return a
}

// syncThreshold reads the two numbers of sync_threshold as the kernel would
// (proc_do_sync_threshold, ip_vs_ctl.c).
func syncThreshold(t *reader.Table) [2]int {
	numbers, _ := t.Value("threshold").([]int64)
	if !t.Valid("threshold") {
		return [2]int{}
	}
	if len(numbers) != 2 {
		t.Errorf("threshold", "must be two numbers, such as [3, 50], not %d", len(numbers))
		return [2]int{}
	}
	for i, n := range numbers {
		if n < 0 || n > 1<<30 {
			at, p := t.LocateItem("threshold", i)
			t.ErrorAt(at, p, "must be 0 to %d, not %d", 1<<30, n)
			return [2]int{}
		}
	}
	if numbers[1] != 0 && numbers[0] >= numbers[1] {
		t.Errorf("threshold", "the first number, %d, must be below the second, %d, unless that is 0", numbers[0], numbers[1])
	}
	return [2]int{int(numbers[0]), int(numbers[1])}
}
