package convert

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"lvsd/config"
)

// where is what tells two equal configurations apart: places and the digest of a text.
var where = regexp.MustCompile(`"(Line|Col)":\d+|"Digest":"\w+"`)

// TestComputedDefaults: what is left out because it is the default that depends on other
// keys is the default of config.
func TestComputedDefaults(t *testing.T) {
	check := func(interval time.Duration) *Table {
		return &Table{Entries: []Entry{{Key: "type", Value: "connect"}, {Key: "interval", Value: interval}}}
	}
	service := func(more ...Entry) *Table {
		return &Table{Entries: append([]Entry{
			{Key: "name", Value: "web"}, {Key: "address", Value: "10.0.0.88:80"},
			{Key: "real_servers", Value: []*Table{{Entries: []Entry{{Key: "address", Value: "10.0.0.9:80"}}}}},
		}, more...)}
	}
	on := Entry{Key: "check", Value: &Table{Entries: []Entry{{Key: "type", Value: "on"}}}}
	script := func(interval time.Duration) *Table {
		return &Table{Entries: []Entry{{Key: "command", Value: []string{"/bin/true"}}, {Key: "interval", Value: interval}}}
	}
	load := func(services, scripts []*Table) string {
		t.Helper()
		root := &Table{Entries: []Entry{
			{Key: "director", Value: []*Table{{Entries: []Entry{{Key: "name", Value: "lb1"}}}}},
			{Key: "vrrp", Value: []*Table{{Entries: []Entry{
				{Key: "name", Value: "web"}, {Key: "interface", Value: "eth0"}, {Key: "virtual_router_id", Value: 51},
				{Key: "priority", Value: 100}, {Key: "addresses", Value: []string{"10.0.0.88"}}, {Key: "track_scripts", Value: scripts},
			}}}},
			{Key: "virtual_service", Value: services},
		}}
		text := write(root)
		f, err := config.Parse("lvsd.toml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		c, err := f.For("lb1")
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := json.Marshal([]any{c.Instances, c.Services})
		if err != nil {
			t.Fatal(err)
		}
		return where.ReplaceAllString(string(loaded), "")
	}
	inService := func(c *Table) (services, scripts []*Table) {
		return []*Table{service(Entry{Key: "check", Value: c})}, nil
	}
	asService := func(s *Table) (services, scripts []*Table) { return []*Table{s}, nil }
	asScript := func(s *Table) (services, scripts []*Table) {
		return []*Table{service(on)}, []*Table{s}
	}
	tried := map[string]bool{}
	for _, c := range []struct {
		name  string
		table *Table
		of    func(*Table) (services, scripts []*Table)
	}{
		{"check.timeout", check(500 * time.Millisecond), inService},
		{"check.timeout", check(5 * time.Second), inService},
		{"check.fast_interval", check(5 * time.Second), inService},
		{"vrrp.track_scripts.timeout", script(3 * time.Second), asScript},
		{"virtual_service.on_failure", service(on), asService},
		{"virtual_service.on_failure", service(on, Entry{Key: "protocol", Value: "udp"}), asService},
		{"virtual_service.on_failure", service(on, Entry{Key: "scheduler", Value: "dh"}), asService},
		{"virtual_service.on_failure", service(on, Entry{Key: "scheduler", Value: "sh"}, Entry{Key: "scheduler_flags", Value: []string{"no-fallback"}}), asService},
		{"virtual_service.check", service(), asService},
	} {
		tried[c.name] = true
		key := c.name[strings.LastIndex(c.name, ".")+1:]
		explicit := c.table.Clone()
		explicit.Set(key, computedDefaults[c.name](c.table), Origin{})
		without, with := load(c.of(c.table)), load(c.of(explicit))
		if without != with {
			t.Errorf("%s = %v is another default than that of config:\n%s\n%s", c.name, explicit.Get(key), without, with)
		}
	}
	for name := range computedDefaults {
		if !tried[name] {
			t.Errorf("%s is not covered", name)
		}
	}
}
