package edit

import (
	"strings"
	"testing"
	"time"

	"lvsd/config"
)

var until = time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)

// inlineFile has the entries in an array, with comments and layout of all kinds.
const inlineFile = `# web
[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
real_servers = [
  { address = "10.0.0.9", weight = 2 }, # the old one
  { weight=5 , address = '10.0.0.20:80' },
  {address="10.0.0.21:80"},
  { address = "10.0.0.22:80", drain_until = 2026-11-01 06:00:00Z, weight = 3 },
  { address = "10.0.0.23:80", weight = 0, drain = true },
]
`

// headerFile has them below headers.
const headerFile = "[[virtual_service]]\r\nname = \"web\"\r\naddress = \"10.0.0.88:80\"\r\n\r\n" +
	"  [[virtual_service.real_servers]] # one\r\n  address = \"10.0.0.9:80\" # ä\r\n  weight = 2 # as before\r\n  [virtual_service.real_servers.check]\r\n  type = \"on\"\r\n" +
	"[[virtual_service.real_servers]]\r\naddress = \"10.0.0.20:80\"\r\ndrain = true # until Monday\r\nweight = 5"

func TestEdits(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		edit func(text string) (string, error)
		// was and is differ in the one place that is edited.
		was, is string
	}{
		"weight":                  {inlineFile, weight("10.0.0.9:80", 7), `"10.0.0.9", weight = 2 }, # the`, `"10.0.0.9", weight = 7 }, # the`},
		"weight, spaces":          {inlineFile, weight("10.0.0.20:80", 10), "weight=5 ,", "weight=10 ,"},
		"weight, added":           {inlineFile, weight("10.0.0.21:80", 0), `{address="10.0.0.21:80"}`, `{address="10.0.0.21:80", weight = 0}`},
		"drain":                   {inlineFile, drain("10.0.0.9:80", time.Time{}), "weight = 2 }", "weight = 2, drain = true }"},
		"drain, no weight":        {inlineFile, drain("10.0.0.21:80", time.Time{}), `"10.0.0.21:80"}`, `"10.0.0.21:80", drain = true}`},
		"drain until":             {inlineFile, drain("10.0.0.20:80", until), "weight=5 ,", "weight=5, drain_until = 2026-12-01T06:00:00Z ,"},
		"later":                   {inlineFile, drain("10.0.0.22:80", until), "2026-11-01 06:00:00Z,", "2026-12-01T06:00:00Z,"},
		"no end":                  {inlineFile, drain("10.0.0.22:80", time.Time{}), `"10.0.0.22:80", drain_until = 2026-11-01 06:00:00Z, weight = 3`, `"10.0.0.22:80", weight = 3, drain = true`},
		"again":                   {inlineFile, drain("10.0.0.23:80", time.Time{}), "drain = true", "drain = true"},
		"undrain":                 {inlineFile, undrain("10.0.0.22:80"), `"10.0.0.22:80", drain_until = 2026-11-01 06:00:00Z, weight`, `"10.0.0.22:80", weight`},
		"undrain nothing":         {inlineFile, undrain("10.0.0.9:80"), "", ""},
		"header: weight":          {headerFile, weight("10.0.0.9:80", 9), "weight = 2 # as", "weight = 9 # as"},
		"header: drain":           {headerFile, drain("10.0.0.9:80", time.Time{}), "# as before\r\n", "# as before\r\n  drain = true\r\n"},
		"header: undrain":         {headerFile, undrain("10.0.0.20:80"), "drain = true # until Monday\r\n", ""},
		"header: the end":         {headerFile, drain("10.0.0.20:80", until), "drain = true # until Monday\r\nweight = 5", "weight = 5\r\ndrain_until = 2026-12-01T06:00:00Z"},
		"header: undrain the end": {headerFile + "\r\ndrain_until = 2026-11-01 06:00:00Z", undrain("10.0.0.20:80"), "drain = true # until Monday\r\nweight = 5\r\ndrain_until = 2026-11-01 06:00:00Z", "weight = 5"},
		"inline in lines":         {strings.ReplaceAll(inlineFile, "{ weight=5 , ", "{\n    weight = 5, # five\n    "), weight("10.0.0.20:80", 6), "weight = 5, # five", "weight = 6, # five"},
	} {
		got, err := c.edit(c.text)
		if want := strings.Replace(c.text, c.was, c.is, 1); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

func weight(address string, n int) func(string) (string, error) {
	return func(text string) (string, error) { return Weight("f", text, Server{"web", address}, n) }
}

func drain(address string, until time.Time) func(string) (string, error) {
	return func(text string) (string, error) { return Drain("f", text, Server{"web", address}, until) }
}

func undrain(address string) func(string) (string, error) {
	return func(text string) (string, error) { return Undrain("f", text, Server{"web", address}) }
}

// TestRefusals: what cannot be edited is refused with a reason.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		text, service, server, want string
	}{
		"no service": {inlineFile, "wbe", "10.0.0.9:80", `no service "wbe" in the file; did you mean web?`},
		"no server":  {inlineFile, "web", "10.0.0.8:80", `no real server "10.0.0.8:80"`},
		"weight 0":   {inlineFile, "web", "10.0.0.23:80", "weight = 0 in f drains 10.0.0.23:80 too (line 10): set the weight that it should have, lvsd weight web 10.0.0.23:80 N"},
		"invalid":    {"[[virtual_service]]\nname = 1\n", "web", "10.0.0.9:80", "f:2:8"},
	} {
		if got, err := Undrain("f", c.text, Server{c.service, c.server}); err == nil || got != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v, want %s", name, got, err, c.want)
		}
	}
	if _, err := Weight("f", inlineFile, Server{"web", "10.0.0.9:80"}, 65536); err == nil {
		t.Error("a weight out of range is accepted")
	}
}

// TestDrainMeansWeightZero: the weight in the file is back after the drain.
func TestDrainMeansWeightZero(t *testing.T) {
	s := Server{"web", "10.0.0.20:80"}
	drained, err := Drain("f", inlineFile, s, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		weight int
		drain  bool
	}{{inlineFile, 5, false}, {drained, 0, true}} {
		f, err := config.Parse("f", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if rs := services(f)[0].RealServers[1]; rs.Weight != c.weight || rs.Drain != c.drain {
			t.Errorf("%+v, want weight %d, drained %v", rs, c.weight, c.drain)
		}
	}
	if back, err := Undrain("f", drained, s); err != nil || back != inlineFile {
		t.Errorf("%v\n%s", err, back)
	}
}

// FuzzEdit: no text makes an edit panic, and an edit that succeeds changes that server.
func FuzzEdit(f *testing.F) {
	f.Add(inlineFile, 7)
	f.Add(headerFile, 0)
	f.Add("virtual_service = [{name = \"web\", address = \"10.0.0.88:80\", real_servers = [{address = \"10.0.0.9:80\"}]}]", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		s := Server{"web", "10.0.0.9:80"}
		after, err := Weight("f", text, s, n)
		if err != nil {
			return
		}
		file, err := config.Parse("f", []byte(after))
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, after, err)
		}
		i, j, err := s.find(file)
		if err != nil {
			t.Fatal(err)
		}
		if rs := services(file)[i].RealServers[j]; rs.Weight != n && !rs.Drain {
			t.Fatalf("%q becomes %q, with weight %d", text, after, rs.Weight)
		}
	})
}
