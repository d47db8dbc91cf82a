package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

const reference = "../docs/lvsd.toml"

// documented is the reference's description of a key.
type documented struct {
	value           string // on its line
	active          bool   // not behind a #
	def             string
	required, each_ bool
}

var (
	sectionLine = regexp.MustCompile(`^# ---- ([a-z_.]+) ----$`)
	keyLine     = regexp.MustCompile(`^(#?)([a-z0-9_]+) = (.*)$`)
)

// readReference takes the keys of each section out of the reference. Only the
// first mention of a key counts, which is the documented one.
func readReference(text string) map[string]map[string]documented {
	sections := map[string]map[string]documented{"": {}}
	section, next := "", documented{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			section, next = m[1], documented{}
			sections[section] = map[string]documented{}
			continue
		}
		if m := keyLine.FindStringSubmatch(line); m != nil {
			next.active, next.value = m[1] == "", m[3]
			if _, again := sections[section][m[2]]; !again {
				sections[section][m[2]] = next
			}
			next = documented{}
			continue
		}
		switch def, isDef := strings.CutPrefix(line, "# Default: "); {
		case isDef:
			next.def = def
		case line == "# Required.":
			next.required = true
		case line == "# May differ between the directors.":
			next.each_ = true
		case line == "":
			next = documented{}
		}
	}
	return sections
}

var documentedTables = []*schema.Table{schema.DirectorTable, schema.GlobalTable, schema.IPVSTable, schema.SyncTable, schema.VRRPTable, schema.RouteTable, schema.RuleTable, schema.AddressTable, schema.TrackInterfaceTable, schema.TrackServiceTable, schema.TrackFileTable, schema.TrackScriptTable, schema.AuthenticationTable,
	schema.AnnounceTable, schema.AnnounceMetricTable, schema.ServiceTable, schema.RealServerTable, schema.TunnelTable, schema.CheckTable, schema.TLSTable, schema.StepTable, schema.CheckerTable, schema.GuardTable, schema.PeersTable, schema.SyncGroupTable, schema.EmailTable, schema.RootTable}

// TestReferenceNamesEveryKey: the reference has every key of the schema and no other,
// with the same properties as in the schema.
func TestReferenceNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	sections := readReference(string(text))
	var examples []example
	for _, tab := range documentedTables {
		keys := sections[tab.Name]
		for _, k := range tab.Keys {
			if tab == schema.RootTable && k.Table != nil {
				continue // a section
			}
			d, ok := keys[k.Name]
			if !ok {
				t.Errorf("section %s: %s is not documented", tab.Name, k.Name)
				continue
			}
			want := documented{value: d.value, active: d.active, def: k.Computed, required: k.Required, each_: k.PerDirector}
			if k.Default != nil {
				want.def = schema.Literal(k.Default)
			}
			if d != want {
				t.Errorf("section %s: %s is documented as %+v, and is %+v", tab.Name, k.Name, d, want)
			}
			if !d.active {
				var any map[string]any
				if _, err := toml.Decode("x = "+d.value, &any); err != nil {
					t.Errorf("section %s: %s = %s: %v", tab.Name, k.Name, d.value, err)
				} else {
					examples = append(examples, example{tab, &k, d.value, any["x"]})
				}
			}
			delete(keys, k.Name)
		}
		for name := range keys {
			t.Errorf("section %s: %s is documented and not known", tab.Name, name)
		}
		delete(sections, tab.Name)
	}
	for name := range sections {
		t.Errorf("section %s is not known", name)
	}
	for _, e := range examples {
		r := reader.New("", "lb1", "lb2")
		if r.ReadValue(e.key, e.value, &tomlpos.Node{}, nil); r.Failed() {
			t.Errorf("section %s: %s = %s: %v", e.table.Name, e.key.Name, e.text, r.Errors())
		}
	}
}

// example is the value that the reference shows of a key behind a #.
type example struct {
	table *schema.Table
	key   *schema.Key
	text  string
	value any
}

// TestReferenceIsValid: the reference is a configuration without mistake or
// warning, for both of its directors.
func TestReferenceIsValid(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("lvsd.toml", text)
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	for _, w := range f.Warnings {
		t.Error(w)
	}
	for _, director := range []string{"lb1", "lb2"} {
		if _, err := f.For(director); err != nil {
			t.Error(err)
		}
	}
}

// TestReferenceDefaults: without the lines that only state a default the reference is
// the same configuration.
func TestReferenceDefaults(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	keys, removed := readReference(string(text)), 0
	var less strings.Builder
	section := ""
	for line := range strings.Lines(string(text)) {
		if m := sectionLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			section = m[1]
		}
		if m := keyLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && m[1] == "" {
			if d, ok := keys[section][m[2]]; ok && (d.value == d.def || m[2] == "on_failure") && m[3] == d.value {
				removed++
				continue
			}
		}
		less.WriteString(line)
	}
	if removed < 50 {
		t.Errorf("only %d lines removed", removed)
	}
	for _, director := range []string{"lb1", "lb2"} {
		all, without := resolved(t, string(text), director), resolved(t, less.String(), director)
		if !reflect.DeepEqual(all, without) {
			t.Errorf("for %s:\n%+v\nwithout defaults:\n%+v", director, all, without)
		}
	}
}

// resolved parses a text for one director, and clears what depends on positions.
func resolved(t *testing.T, text, director string) *Config {
	t.Helper()
	f, err := Parse("x", []byte(text))
	if err != nil {
		t.Fatalf("\n%v\nin\n%s", err, text)
	}
	c, err := f.For(director)
	if err != nil {
		t.Fatal(err)
	}
	c.Hash = ""
	c.Directors = slices.Clone(c.Directors)
	for i := range c.Directors {
		c.Directors[i].Position = Position{}
	}
	for i := range c.Instances {
		c.Instances[i].Position = Position{}
	}
	for i := range c.SyncGroups {
		c.SyncGroups[i].Position = Position{}
	}
	for i := range c.Announces {
		c.Announces[i].Position = Position{}
	}
	for i := range c.Services {
		s := &c.Services[i]
		s.Position, s.Digest = Position{}, ""
		for j := range s.RealServers {
			r := &s.RealServers[j]
			r.Position, r.WeightPosition, r.DrainUntilPosition = Position{}, Position{}, Position{}
			for k := range r.Checks {
				r.Checks[k].Position = Position{}
			}
		}
	}
	return c
}

// frame is a file with one more line in one of its tables. The frame has what the line
// needs, such as a check of that type.
func frame(tab *schema.Table, k *schema.Key) (head, tail string) {
	service := "[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:443\"\n"
	if k.Name == "family" {
		service = "[[virtual_service]]\nname = \"web\"\nfwmark = 1\n"
	}
	election := "[[vrrp]]\nname = \"web\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"10.0.0.88\"]\n"
	server := "[[virtual_service.real_servers]]\naddress = \"10.0.0.9\"\n"
	kind := "https"
	if k.CheckTypes != nil && !slices.Contains(k.CheckTypes, kind) {
		kind = k.CheckTypes[0]
	}
	check := "[virtual_service.check]\ntype = \"" + kind + "\"\naddress = \":443\"\n" + map[string]string{
		"dns": "name = \"www.example.com\"\n", "exec": "command = [\"/bin/true\"]\n", "file": "file = \"/run/up\"\n"}[kind]
	if k.Name == "command" || k.Name == "file" || k.Name == "name" || k.Name == "port" {
		check = "[virtual_service.check]\ntype = \"" + kind + "\"\n"
	}
	if k.Name == "alpn" && tab == schema.CheckTable {
		check += "tls = true\n"
	}
	whole := []string{"", election, service, server, check}
	at := map[*schema.Table]int{schema.VRRPTable: 1, schema.ServiceTable: 2, schema.RealServerTable: 3, schema.CheckTable: 4}[tab]
	switch tab {
	case schema.GlobalTable, schema.IPVSTable, schema.CheckerTable, schema.GuardTable, schema.PeersTable, schema.EmailTable:
		whole[0] = "[" + tab.Name + "]\n"
	case schema.SyncTable:
		whole[0] = "[ipvs.sync]\ninterface = \"eth0\"\nid = 51\n"
	case schema.AuthenticationTable:
		at, whole[1] = 1, election+"[vrrp.authentication]\ntype = \"hmac\"\nkey_file = \"/etc/lvsd/vrrp.key\"\n"
	case schema.SyncGroupTable:
		at, whole[1] = 1, election+"sync_group = \"g\"\n[[sync_group]]\nname = \"g\"\n"
	case schema.AddressTable:
		at, whole[1] = 1, election+"[[vrrp.excluded_addresses]]\naddress = \"10.1.0.88\"\ninterface = \"eth1\"\n"
	case schema.TrackInterfaceTable:
		at, whole[1] = 1, election+"[[vrrp.track_interfaces]]\nname = \"eth1\"\n"
	case schema.TrackServiceTable:
		at, whole[1] = 1, election+"[[vrrp.track_services]]\nname = \"web\"\n"
	case schema.TrackFileTable:
		at, whole[1] = 1, election+"[[vrrp.track_files]]\npath = \"/run/lvsd/prefer\"\n"
	case schema.RouteTable:
		at, whole[1] = 1, election+"[[vrrp.routes]]\nto = \"default\"\n"
	case schema.RuleTable:
		at, whole[1] = 1, election+"[[vrrp.rules]]\nfrom = \"10.0.0.88\"\ntable = 100\npriority = 1000\n"
		if k.Name == "from" {
			whole[1] = strings.Replace(whole[1], "from", "to", 1)
		}
	case schema.TrackScriptTable:
		at, whole[1] = 1, election+"[[vrrp.track_scripts]]\ncommand = [\"/bin/true\"]\n"
	case schema.AnnounceTable:
		at, whole[1] = 1, "[[announce]]\nname = \"web\"\naddresses = [\"10.0.0.88\"]\n"
	case schema.AnnounceMetricTable:
		at, whole[1] = 1, "[[announce]]\nname = \"web\"\naddresses = [\"10.0.0.88\"]\n[announce.metric]\n"
	case schema.TunnelTable:
		at, whole[2] = 2, service+"[virtual_service.forward]\ntype = \"gre\"\n"
	case schema.TLSTable:
		at, whole[4] = 4, check+"[virtual_service.check.tls]\n"
	case schema.StepTable:
		at, whole[4] = 4, "[virtual_service.check]\ntype = \"tcp\"\n[[virtual_service.check.steps]]\n"
		if k.Name != "send" {
			whole[4] += "send = \"x\"\n"
		}
	}
	return strings.Join(whole[:at+1], ""), strings.Join(whole[at+1:], "")
}

// TestDefaults: an explicit default changes nothing.
func TestDefaults(t *testing.T) {
	seen := 0
	for _, tab := range documentedTables {
		for _, k := range tab.Keys {
			line := fmt.Sprintf("%s = %s\n", k.Name, schema.Literal(k.Default))
			head, tail := frame(tab, &k)
			if f, err := Parse("x", []byte(head+tail)); k.Default == nil || err != nil && f == nil {
				continue
			}
			seen++
			plain, stated := resolved(t, head+tail, "lb1"), resolved(t, head+line+tail, "lb1")
			if !reflect.DeepEqual(plain, stated) {
				t.Errorf("%s.%s:\n%+v\nleft out:\n%+v", tab.Name, strings.TrimSpace(line), stated, plain)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d defaults", seen)
	}
}
