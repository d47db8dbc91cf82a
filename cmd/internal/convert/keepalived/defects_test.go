package keepalived

import (
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// noteCase is a configuration, what the result has and has not, and a note of it.
type noteCase struct {
	conf, has, hasNot string
	kind              convert.Kind
	why               string // "" = no note of this kind
}

func (c noteCase) test(t *testing.T) {
	r, err := Convert([]Source{{"lb1", "f"}}, converttest.File(c.conf))
	if err != nil {
		t.Fatal(err)
	}
	converttest.Passes(t, r)
	if !strings.Contains(body(r), c.has) || c.hasNot != "" && strings.Contains(body(r), c.hasNot) {
		t.Errorf("want %q, and not %q:\n%s", c.has, c.hasNot, r.TOML)
	}
	if got := hasNote(r, c.kind, c.why); got != (c.why != "") {
		t.Errorf("want the note %q: %v", c.why, r.Notes)
	}
}

// TestUsersOfPrograms: the user of each program has a note, and no line changes it for
// others.
func TestUsersOfPrograms(t *testing.T) {
	scriptUser := "global_defs {\n script_user nobody\n}\n"
	for name, c := range map[string]noteCase{
		"nothing said":              {instanceConf("A", `notify_master "/etc/k/n.sh"`), "notify_master", "notify_user", convert.ToDo, "keepalived_script"},
		"nothing said, a script":    {"vrrp_script chk {\n script /bin/chk\n}\n" + instanceConf("A", "track_script {\n chk\n }"), "/bin/chk", "setpriv", convert.ToDo, "keepalived_script"},
		"nothing said, a check":     {checkConf("MISC_CHECK {\n misc_path /bin/chk\n}"), "/bin/chk", "user =", convert.ToDo, "keepalived_script"},
		"script_user":               {scriptUser + instanceConf("A", `notify_master "/etc/k/n.sh"`), `notify_user = "nobody"`, "", convert.ToDo, "CAP_SETUID"},
		"a word read as a user":     {instanceConf("A", `notify_master /etc/k/n.sh master`), `notify_master = ["/etc/k/n.sh"]`, "notify_user", convert.ToDo, "reads the word after the program, master, as a user"},
		"the same with script_user": {scriptUser + instanceConf("A", `notify_master /etc/k/n.sh master`), `notify_user = "nobody"`, "", convert.ToDo, "as one user, nobody"},
		"a line with a user":        {scriptUser + instanceConf("A", `notify_stop "/etc/k/n.sh" root`), `notify_user = "nobody"`, "", convert.ToDo, "runs the program as root"},
		"its own user is the same":  {scriptUser + instanceConf("A", `notify "/etc/k/n.sh" nobody`), `notify_user = "nobody"`, "", convert.ToDo, "CAP_SETUID"},
		"more arguments":            {scriptUser + instanceConf("A", `notify_backup "/etc/k/n.sh b"`), `["/etc/k/n.sh", "b"]`, "", convert.ToDo, "appends four arguments"},
	} {
		t.Run(name, c.test)
	}
}

// markConf is a service of a firewall mark with a server, and more lines.
func markConf(server string, lines ...string) string {
	return "virtual_server fwmark 7 {\n delay_loop 5\n real_server " + server + " {\n }\n" + strings.Join(lines, "\n") + "\n}\n"
}

// TestWhatIsNotCarriedOverIsNoted: what the result does differently from keepalived has a
// note.
func TestWhatIsNotCarriedOverIsNoted(t *testing.T) {
	mail := "global_defs {\n notification_email {\n ops@example.com\n }\n%s}\n"
	v6 := strings.ReplaceAll(instanceConf("A", "version 2", password), "10.0.1.88", "fe80::88")
	for name, c := range map[string]noteCase{
		"IPv6 with version 2":              {v6, `"fe80::88"`, "authentication", convert.ToDo, "replace both directors at once"},
		"IPv6 with version 2, a password":  {v6, `"fe80::88"`, "authentication", convert.LeftOut, "version 3 has no password"},
		"IPv6 with version 2 of all":       {"global_defs {\n vrrp_version 2\n}\n" + strings.ReplaceAll(v6, "version 2", ""), `"fe80::88"`, "version =", convert.ToDo, ""},
		"a port of a mark":                 {markConf("10.0.0.9 8080", "lb_kind NAT"), `"10.0.0.9"`, "", convert.ToDo, "to port 8080"},
		"a port of a mark, direct routing": {markConf("10.0.0.9 8080", "lb_kind DR"), `"10.0.0.9"`, "", convert.ToDo, ""},
		"a port of a persistent mark":      {markConf("10.0.0.9 8080", "lb_kind NAT", "persistence_timeout 50"), `"10.0.0.9"`, "", convert.ToDo, ""},
		"a sorry server of a mark":         {markConf("10.0.0.9", "lb_kind NAT", "sorry_server 10.0.0.7 81"), `"10.0.0.7"`, "", convert.ToDo, "to port 81"},
		"an interval of two hours":         {checkConf("TCP_CHECK {\n delay_loop 7200\n}"), `interval = "1h"`, "", convert.LeftOut, "1h at most"},
		"a timeout of two hours":           {checkConf("TCP_CHECK {\n connect_timeout 7200\n}"), `timeout = "1h"`, "", convert.LeftOut, "1h at most"},
		"a start after two hours":          {"global_defs {\n vrrp_startup_delay 7200\n}\n" + instanceConf("A"), `startup_delay = "1h"`, "", convert.LeftOut, "1h at most"},
		"mail without a server":            {strings.Replace(mail, "%s", "", 1) + serviceConf(), "[[virtual_service]]", "[email]", convert.Adjusted, "without smtp_server"},
		"mail with a server":               {strings.Replace(mail, "%s", " smtp_server 10.0.0.3\n", 1) + serviceConf(), `server = "10.0.0.3:25"`, "", convert.Adjusted, ""},
		"a group with all ports of an address": {"virtual_server_group G {\n 10.0.0.90 0\n 10.0.0.91 80\n}\nvirtual_server group G {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n",
			"address = \"10.0.0.91:80\"\nforward = \"nat\"\npersistence = \"6m\"", "", convert.Adjusted, "with all of its group"},
	} {
		t.Run(name, c.test)
	}
}

// TestLosses: an instance without its addresses or its ID, and a service without its
// servers, is lost, and no note says otherwise.
func TestLosses(t *testing.T) {
	other := instanceConf("other")
	for name, c := range map[string]struct{ conf, why, not string }{
		"no valid address":           {strings.ReplaceAll(instanceConf("A"), "10.0.1.88", "10.0.1.88/33"), "none of its addresses", ""},
		"no valid virtual router ID": {strings.ReplaceAll(instanceConf("A"), "virtual_router_id 1", "virtual_router_id 300"), "not a number from 1 to 255", "missing"},
		"no valid server":            {strings.ReplaceAll(serviceConf(), "10.0.0.9", "web1"), "none of its real servers", ""},
		"an instance of the other family": {strings.ReplaceAll(instanceConf("A"), "10.0.1.88", "fe80::88") + strings.ReplaceAll(instanceConf("B"), "10.0.1.88", "10.0.1.88\n fe80::89"),
			"already", "B-other-family"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert([]Source{{"lb1", "f"}}, converttest.File(c.conf+other))
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, r)
			if !r.Lost() || !hasNote(r, convert.Lost, c.why) {
				t.Errorf("nothing is lost by %q: %v", c.why, r.Notes)
			}
			for _, n := range r.Notes {
				if c.not != "" && n.Kind != convert.Lost && strings.Contains(n.Why, c.not) || c.not == "missing" && strings.Contains(n.Why, c.not) {
					t.Errorf("%v", n)
				}
			}
		})
	}
}

// TestPortsThatMindConnections: a check that only connects does not become one that lvsd check
// warns of.
func TestPortsThatMindConnections(t *testing.T) {
	const mysql = "type = \"mysql\" logs in"
	for name, c := range map[string]struct{ conf, has, hint string }{
		"MySQL":                       {strings.ReplaceAll(checkConf("TCP_CHECK {\n}"), " 80 ", " 3306 "), `type = "syn"`, mysql},
		"MySQL as port of the check":  {checkConf("TCP_CHECK {\n connect_port 3306\n}"), `type = "syn"`, mysql},
		"MySQL at another address":    {checkConf("TCP_CHECK {\n connect_ip 10.0.0.7\n connect_port 3306\n bindto 10.0.0.12\n}"), `type = "syn"`, mysql},
		"another port than MySQL's":   {strings.ReplaceAll(checkConf("TCP_CHECK {\n connect_port 81\n}"), " 80 ", " 3306 "), `type = "connect"`, ""},
		"PostgreSQL":                  {strings.ReplaceAll(checkConf("TCP_CHECK {\n}"), " 80 ", " 5432 "), `close = "fin"`, ""},
		"a port that minds nothing":   {checkConf("TCP_CHECK {\n}"), `type = "connect"`, ""},
		"MySQL, a program checks it":  {strings.ReplaceAll(checkConf("MISC_CHECK {\n misc_path /bin/chk\n}"), " 80 ", " 3306 "), `type = "exec"`, ""},
		"MySQL, the greeting is SMTP": {strings.ReplaceAll(checkConf("SMTP_CHECK {\n}"), " 80 ", " 3306 "), `type = "smtp"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert([]Source{{"lb1", "f"}}, converttest.File(c.conf))
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, r)
			if !strings.Contains(body(r), c.has) || strings.Contains(strings.Join(r.Warnings, "\n"), "is the port of") || strings.Contains(strings.Join(r.Hints, "\n"), mysql) != (c.hint != "") {
				t.Errorf("want %q, the hint %q, no warning:\n%s\nhints %q\nwarnings %q", c.has, c.hint, body(r), r.Hints, r.Warnings)
			}
		})
	}
}
