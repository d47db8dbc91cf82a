package convert

import (
	"fmt"
	"strings"
	"testing"
)

// TestManyMistakesAreRemoved: what config refuses is removed in a few rounds, however
// much it is.
func TestManyMistakesAreRemoved(t *testing.T) {
	const services = 500
	root, n := &Table{}, &Notes{}
	for i := range services {
		from := Origin{File: "f", Line: i + 1}
		s := &Table{From: from}
		s.Set("name", fmt.Sprint("s", i), from)
		s.Set("address", fmt.Sprintf("10.0.%d.%d:80", i/250, i%250+1), from)
		for _, key := range []string{"scheduler", "forward", "on_failure", "persistence_engine", "persistence_netmask"} {
			s.Set(key, "none", from)
		}
		s.Set("quorum", -1, from)
		rs := &Table{From: from}
		rs.Set("address", "10.1.0.1:80", from)
		s.Append("real_servers", rs)
		root.Append("virtual_service", s)
	}
	r, err := Finish("test", []string{"f"}, root, n)
	if err != nil {
		t.Fatal(err)
	}
	if left := strings.Count(r.TOML, "[[virtual_service]]"); left != services || r.Lost() {
		t.Errorf("%d services are left, want %d", left, services)
	}
}

// TestALostServiceIsSaidFirst: a service without a valid address is lost, and the header
// begins with it.
func TestALostServiceIsSaidFirst(t *testing.T) {
	root, n := &Table{}, &Notes{}
	for i, address := range []string{"10.0.0.1:80", "no address"} {
		from := Origin{File: "f", Line: i + 1, Text: address}
		s := &Table{From: from}
		s.Set("name", fmt.Sprint("s", i), from)
		s.Set("address", address, from)
		root.Append("virtual_service", s)
	}
	n.Add(LeftOut, Origin{File: "f", Line: 3, Text: "smtp_alert"}, MailByKind)
	n.Add(LeftOut, Origin{File: "f", Line: 5, Text: "smtp_alert"}, MailByKind)
	r, err := Finish("test", []string{"f"}, root, n)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Lost() || r.Complete() || r.Notes[0].Kind != Lost || r.Notes[0].Line != 2 {
		t.Errorf("%v", r.Notes)
	}
	if !strings.Contains(r.TOML, "# - f:3,5: smtp_alert: [email] sends mail") {
		t.Errorf("two lines with one reason:\n%s", r.TOML)
	}
	if len(r.Warnings) == 0 || !strings.Contains(r.TOML, "# lvsd check warns:") {
		t.Errorf("a service without servers and without an instance has no warning:\n%s", r.TOML)
	}
}

// TestAServiceWhoseServersAreRefusedIsLost: config refuses an IPv4 server of an IPv6 service.
func TestAServiceWhoseServersAreRefusedIsLost(t *testing.T) {
	root, n := &Table{}, &Notes{}
	for i, address := range []string{"[fe80::1]:80", "[2001:db8::1]:80", "10.0.0.1:80"} {
		from := Origin{File: "f", Line: i + 1, Text: address}
		s := &Table{From: from}
		s.Set("name", fmt.Sprint("s", i), from)
		s.Set("address", address, from)
		s.Set("forward", "nat", from)
		rs := &Table{From: from}
		rs.Set("address", "10.0.0.9:80", from)
		s.Append("real_servers", rs)
		root.Append("virtual_service", s)
	}
	r, err := Finish("test", []string{"f"}, root, n)
	if err != nil {
		t.Fatal(err)
	}
	if left := strings.Count(r.TOML, "[[virtual_service]]"); left != 1 || !r.Lost() {
		t.Errorf("%d services are left, want one:\n%s", left, r.TOML)
	}
}

// TestHoistCheck: only a check that all servers have moves to the service, and none that
// names a server.
func TestHoistCheck(t *testing.T) {
	for name, c := range map[string]struct {
		checks []any
		moves  bool
	}{
		"all alike":        {[]any{"/a", "/a", "/a"}, true},
		"one differs":      {[]any{"/a", "/a", "/b"}, false},
		"one server alone": {[]any{"/a"}, true},
		"its address":      {[]any{"/probe 10.0.0.1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Table{}
			for i, path := range c.checks {
				check, rs := &Table{}, &Table{}
				check.Set("path", path, Origin{})
				rs.Set("address", fmt.Sprintf("10.0.0.%d:80", i+1), Origin{})
				rs.Set("check", check, Origin{})
				s.Append("real_servers", rs)
			}
			HoistCheck(s)
			if s.Has("check") != c.moves || s.Tables("real_servers")[0].Has("check") == c.moves {
				t.Errorf("%s", Literal(s))
			}
		})
	}
}
