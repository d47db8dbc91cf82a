package ldirectord

import (
	"slices"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// TestLinesAsLdirectordReadsThem: one construct each, what the result then has and has not,
// and the text of a note.
func TestLinesAsLdirectordReadsThem(t *testing.T) {
	web := func(real string, more ...string) string {
		return "virtual=10.0.0.88:80\n\treal=" + real + "\n\tscheduler=wlc\n" + strings.Join(more, "")
	}
	for name, c := range map[string]struct {
		text, has, hasNot string
		kind              convert.Kind
		why               string
	}{
		"no space after the comma":     {web(`10.0.0.9:80 gate 1 "index.html","OK"`), "expect = \"OK\"\npath = \"/index.html\"", "index.html,", "", ""},
		"a space in the expectation":   {web(`10.0.0.9:80 gate 1 "index.html","Test Page"`), "expect = \"Test Page\"\npath = \"/index.html\"", "", "", ""},
		"a space instead of the comma": {web(`10.0.0.9:80 gate 1 "index.html" "OK"`), "expect = \"OK\"\npath = \"/index.html\"", "", "", ""},
		"no weight":                    {web(`10.0.0.9:80 gate "b.html", "OK"`), "expect = \"OK\"\npath = \"/b.html\"", "", "", ""},
		"limits after the expectation": {web(`10.0.0.9:80 gate 3 "b.html", "OK" l:8 u:9`), `weight = 3, upper_threshold = 9, lower_threshold = 8`, "", "", ""},
		"one string alone":             {web(`10.0.0.9:80 gate 1 "b.html"`), "[[virtual_service]]", "b.html", convert.ToDo, "refuses this line"},
		"no method":                    {web(`10.0.0.9:80`), "[[virtual_service]]", "", convert.ToDo, "without gate, masq or ipip"},

		"two spaces and a tab": {"virtual=10.0.0.88:80\n  \tfallback=10.0.0.77:80\n\treal=10.0.0.9:80 gate\n\tscheduler=wlc\nvirtual=10.0.0.89:80\n\treal=10.0.0.9:80 gate\n\tscheduler=wlc\n",
			"address = \"10.0.0.88:80\"\non_failure = \"remove\"\nfallback = \"10.0.0.77:80\"", "", "", ""},
		"an empty line in a service": {web("10.0.0.9:80 gate", "\n\treal=10.0.0.10:80 gate\n"), `"10.0.0.10:80"`, "", convert.ToDo, "an empty line ends a virtual service"},
		"a comment in a service":     {web("10.0.0.9:80 gate", "# or\n\treal=10.0.0.10:80 gate\n"), `"10.0.0.10:80"`, "", "", ""},
		"receive without quotes":     {web("10.0.0.9:80 gate", "\treceive=OK\n"), `expect = "OK"`, "", convert.ToDo, "in double quotes only"},

		"a port of a mark":                 {"virtual=7\n\treal=10.0.0.9:8080 masq\n\tservice=http\n\tscheduler=wlc\n", "fwmark = 7", "", convert.ToDo, "to port 8080"},
		"a port of a mark, no masquerade":  {"virtual=7\n\treal=10.0.0.9:8080 gate\n\tservice=http\n\tscheduler=wlc\n", "fwmark = 7", "", "", ""},
		"a port of a persistent mark":      {"virtual=7\n\treal=10.0.0.9:8080 masq\n\tservice=http\n\tpersistent=60\n\tscheduler=wlc\n", "fwmark = 7", "", "", ""},
		"a fallback with a port of a mark": {"virtual=7\n\treal=10.0.0.9 masq\n\tfallback=10.0.0.7:81 masq\n\tservice=http\n\tscheduler=wlc\n", "fwmark = 7", "", convert.ToDo, "to port 81"},

		"a timeout of ldap":      {"virtual=10.0.0.88:389\n\treal=10.0.0.9:389 gate\n\tscheduler=wlc\n", `timeout = "5s"`, "", "", ""},
		"timeouts of radius":     {"virtual=10.0.0.88:1812\n\treal=10.0.0.9:1812 gate\n\tprotocol=udp\n\tservice=radius\n\tlogin=\"a\"\n\tpasswd=\"b\"\n\tsecret=\"c\"\n\tchecktimeout=9\n\tnegotiatetimeout=4\n\tscheduler=wlc\n", `timeout = "4s"`, "", convert.ToDo, "mode 0600"},
		"an interval of a day":   {"checkinterval=86400\n" + web("10.0.0.9:80 gate"), `interval = "1h"`, "", convert.LeftOut, "3600 at most"},
		"a timeout of two hours": {"negotiatetimeout=7200\n" + web("10.0.0.9:80 gate"), `timeout = "1h"`, "", convert.LeftOut, "3600 at most"},
		"mail":                   {"emailalert=ops@example.com\n" + web("10.0.0.9:80 gate"), `kinds = ["health"]`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert("f", converttest.File(c.text))
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, r)
			_, body, _ := strings.Cut("\n"+r.TOML, "\n\n")
			if !strings.Contains(body, c.has) || c.hasNot != "" && strings.Contains(body, c.hasNot) {
				t.Errorf("want %q, and not %q:\n%s", c.has, c.hasNot, r.TOML)
			}
			noted := slices.ContainsFunc(r.Notes, func(n convert.Note) bool { return n.Kind == c.kind && strings.Contains(n.Why, c.why) })
			if c.why != "" && !noted || c.why == "" && len(r.Notes) > 0 {
				t.Errorf("want the note %q: %v", c.why, r.Notes)
			}
		})
	}
}

// TestAServiceWithoutItsServersIsLost: all lines real are left out.
func TestAServiceWithoutItsServersIsLost(t *testing.T) {
	r, err := Convert("f", converttest.File("virtual=10.0.0.88:80\n\treal=nowhere.example.net:80 gate\nvirtual=10.0.0.89:80\n\treal=10.0.0.9:80 gate\n"))
	if err != nil || !r.Lost() || strings.Contains(r.TOML, `"10.0.0.88:80"`) {
		t.Errorf("%v\n%s", err, r.TOML)
	}
}

// TestDiffShowsTheLineOfAServer: what a line real says is no default.
func TestDiffShowsTheLineOfAServer(t *testing.T) {
	r, err := Convert("f", converttest.File("virtual=10.0.0.88:80\n\treal=10.0.0.9:80 gate 5 \"a.html\", \"OK\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := r.Diff(); strings.Count(diff, `gate 5 "a.html"`) < 2 || strings.Contains(diff, "(default)  weight") {
		t.Errorf("%s", diff)
	}
}

// TestPortsThatMindConnections: a check that only connects does not become one that lvsd check
// warns of.
func TestPortsThatMindConnections(t *testing.T) {
	const mysql = "type = \"mysql\" logs in"
	for name, c := range map[string]struct{ port, lines, has, hint string }{
		"connect to MySQL":      {"3306", "\tchecktype=connect\n", `type = "syn"`, mysql},
		"checkport of MySQL":    {"80", "\tchecktype=connect\n\tcheckport=3306\n", `type = "syn"`, mysql},
		"nothing sent to MySQL": {"3306", "\tservice=simpletcp\n", `type = "syn"`, mysql},
		"MySQL":                 {"3306", "\tservice=mysql\n\tlogin=\"lvsd\"\n", `type = "mysql"`, ""},
		"connect to PostgreSQL": {"5432", "\tchecktype=connect\n", `close = "fin"`, ""},
		"connect":               {"80", "\tchecktype=connect\n", `type = "connect"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert("f", converttest.File("virtual=10.0.0.88:"+c.port+"\n\treal=10.0.0.9:"+c.port+" gate\n\tscheduler=wlc\n"+c.lines))
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, r)
			if !strings.Contains(r.TOML, c.has) || strings.Contains(strings.Join(r.Warnings, "\n"), "is the port of") || strings.Contains(strings.Join(r.Hints, "\n"), mysql) != (c.hint != "") {
				t.Errorf("want %q, the hint %q, no warning:\n%s\nhints %q\nwarnings %q", c.has, c.hint, r.TOML, r.Hints, r.Warnings)
			}
		})
	}
}
