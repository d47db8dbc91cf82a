// [[director]] and [global].

package config

import (
	"net/netip"
	"strings"

	"lvsd/config/reader"
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
				t.Errorf("address", "%s is the address of the director at line %d already", a, first.Line)
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
		t.Errorf("name", "%q is the name of the %s at line %d already", name, kind, first.Line)
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
		Notify:        notifyCommand(t),
		Webhook:       webhookURL(t),
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
