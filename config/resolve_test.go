package config

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// same compares values of this package, the addresses by value.
var same = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), cmpopts.EquateEmpty()}

// load parses a text that must be good.
func load(t *testing.T, text, director string) *Config {
	t.Helper()
	f, err := Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	c, err := f.For(director)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMinimal: every default, as the rest of the program gets it.
func TestMinimal(t *testing.T) {
	got := load(t, read(t, "testdata/good-minimal.toml"), "anybody")
	check := Check{Address: addrPort("10.0.0.9:80"), CheckSettings: &CheckSettings{Type: "connect", Name: "connect", Close: "reset", Interval: 2 * time.Second, FastInterval: 2 * time.Second,
		Timeout: time.Second, Rise: 2, Fall: 3, Position: Position{Line: 1, Col: 1}}}
	want := &Config{
		Director: "anybody", File: "lvsd.toml",
		Global: Global{HTTPListen: "127.0.0.1:8112", ControlSocket: "/run/lvsd/control.sock", StateDir: "/var/lib/lvsd",
			LogLevel: "info", LogFormat: "text", PerServerMetrics: true, WebhookFormat: "json", WebhookKinds: []string{}},
		IPVS: IPVS{TimeoutTCP: 15 * time.Minute, TimeoutTCPFin: 2 * time.Minute, TimeoutUDP: 5 * time.Minute,
			ManageSysctls: true, ResyncInterval: 10 * time.Second, OnStop: "keep", Foreign: "alarm", ProbeMarkBase: 0x6c760000},
		Checker: Checker{ExecParallel: 32},
		Services: []Service{{
			Name: "web", Address: addrPort("10.0.0.88:80"), Protocol: "tcp", Scheduler: "wlc", Forward: "dr",
			PersistenceBits: 32, Quorum: 1, OnFailure: "quiesce", DrainPersistent: "keep", Position: Position{Line: 1, Col: 1},
			RealServers: []RealServer{{Address: addrPort("10.0.0.9:80"), Weight: 1, Forward: "dr", Checks: []Check{check},
				Position: Position{Line: 4, Col: 17}, WeightPosition: Position{Line: 4, Col: 17}}},
		}},
	}
	if len(got.Hash) != 16 {
		t.Errorf("hash %q", got.Hash)
	}
	want.Hash, want.Services[0].Digest = got.Hash, got.Services[0].Digest
	if d := cmp.Diff(want, got, same...); d != "" {
		t.Error(d)
	}
}

// TestSpellings: the ways to write one thing in TOML, and values that differ
// between the directors.
func TestSpellings(t *testing.T) {
	text := read(t, "testdata/good-spellings.toml")
	f, err := Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	one, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.For("lb.2")
	if err != nil {
		t.Fatal(err)
	}
	election := Instance{Name: "vips", Interface: "eth0", VRID: 51, Priority: 200, AdvertInterval: time.Second, Preempt: true,
		PreemptDelay: 90 * time.Second, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32"), netip.MustParsePrefix("10.0.0.89/32")},
		Checksum: "rfc5798", Version: 3, HandoverLimit: 5 * time.Second, SyncHold: time.Minute, Position: Position{Line: 7, Col: 1}}
	if d := cmp.Diff([]Instance{election}, one.Instances, same...); d != "" {
		t.Error(d)
	}
	election.Interface, election.Priority, election.PreemptDelay = "ens3", 100, 0
	if d := cmp.Diff([]Instance{election}, two.Instances, same...); d != "" {
		t.Error(d)
	}
	if one.Global.LogLevel != "debug" || one.IPVS.TimeoutTCP != time.Hour || one.IPVS.OnStop != "remove" {
		t.Errorf("%+v %+v", one.Global, one.IPVS)
	}
	type server struct {
		address string
		weight  int
		checks  string
	}
	var servers []server
	for _, s := range one.Services {
		for _, r := range s.RealServers {
			var types []string
			for _, check := range r.Checks {
				types = append(types, check.Type)
			}
			servers = append(servers, server{r.Address.String(), r.Weight, strings.Join(types, " ")})
		}
	}
	want := []server{{"10.0.0.9:80", 1, "http"}, {"10.0.0.20:80", 5, "connect"}, {"10.0.0.9:25", 2, "connect tcp"}, {"10.0.0.20:25", 1, "connect"}}
	if !slices.Equal(servers, want) {
		t.Errorf("%v, want %v", servers, want)
	}
	if got := one.Services[0].RealServers[0].Checks[0].Headers["X-Probe"]; got != "1" {
		t.Errorf("header %q", got)
	}
	if got, want := one.Services[1].RealServers[0].WeightPosition, (Position{Line: 39, Col: 14}); got != want {
		t.Errorf("weight at %v, want %v", got, want)
	}
	if one.Hash != two.Hash || one.Hash != f.Hash {
		t.Errorf("hashes %s %s %s", one.Hash, two.Hash, f.Hash)
	}
}

// TestFor: the directors of the file, and the error for any other name.
func TestFor(t *testing.T) {
	f, err := Parse("lvsd.toml", []byte(read(t, "testdata/good-pair.toml")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.For("lb3"); err == nil || !strings.Contains(err.Error(), `"lb3" is not in lvsd.toml, which has lb1, lb2`) {
		t.Errorf("%v", err)
	}
	for director, priority := range map[string]uint8{"lb1": 200, "lb2": 100} {
		c, err := f.For(director)
		if err != nil || c.Director != director || c.Instances[0].Priority != priority || len(c.Directors) != 2 {
			t.Errorf("%s: %+v, %v", director, c, err)
		}
	}
}

// service parses a service of these lines and returns it.
func service(t *testing.T, lines string) Service {
	t.Helper()
	return load(t, "[[virtual_service]]\nname = \"web\"\n"+lines, "lb1").Services[0]
}

// TestSchedulerFlags: the kernel's flags, and what happens to a failed server.
func TestSchedulerFlags(t *testing.T) {
	for _, c := range []struct{ lines, flags, onFailure string }{
		{`scheduler = "wlc"`, "", "quiesce"},
		{`scheduler = "dh"`, "", "remove"},
		{`scheduler = "sh"`, "sh-fallback", "quiesce"},
		{`scheduler = "mh"`, "mh-fallback", "quiesce"},
		{"scheduler = \"sh\"\nscheduler_flags = [\"sh-port\"]", "sh-fallback sh-port", "quiesce"},
		{"scheduler = \"sh\"\nscheduler_flags = [\"sh-port\", \"sh-fallback\", \"sh-port\"]", "sh-port sh-fallback", "quiesce"},
		{"scheduler = \"mh\"\nscheduler_flags = [\"flag-2\", \"flag-1\"]", "mh-port mh-fallback", "quiesce"},
		{"scheduler = \"mh\"\nscheduler_flags = [\"no-fallback\", \"mh-port\"]", "mh-port", "remove"},
		{"scheduler = \"sh\"\nscheduler_flags = [\"no-fallback\"]\non_failure = \"remove\"", "", "remove"},
		{"scheduler = \"wrr\"\nscheduler_flags = [\"flag-3\"]", "flag-3", "quiesce"},
		{"protocol = \"udp\"\ncheck = { type = \"on\" }", "", "remove"},
		{"protocol = \"udp\"\ncheck = { type = \"on\" }\nscheduler = \"sh\"", "sh-fallback", "remove"},
		{"protocol = \"udp\"\ncheck = { type = \"on\" }\non_failure = \"quiesce\"", "", "quiesce"},
		{`on_failure = "remove"`, "", "remove"},
	} {
		s := service(t, "address = \"10.0.0.88:80\"\nreal_servers = [{ address = \"10.0.0.9:80\" }]\n"+c.lines)
		if got := strings.Join(s.SchedulerFlags, " "); got != c.flags || s.OnFailure != c.onFailure {
			t.Errorf("%s: flags %q and %s, want %q and %s", c.lines, got, s.OnFailure, c.flags, c.onFailure)
		}
	}
}

// TestCheckTarget: the address of a check, and the name of the server.
func TestCheckTarget(t *testing.T) {
	for _, c := range []struct{ service, server, check, address, host, name string }{
		{"10.0.0.88:80", "10.0.0.9:80", `type = "http"`, "10.0.0.9:80", "10.0.0.9", ""},
		{"10.0.0.88:81", "10.0.0.9", `type = "http"`, "10.0.0.9:81", "10.0.0.9:81", ""},
		{"10.0.0.88:80", "10.0.0.9:80", `type = "http", address = ":8080"`, "10.0.0.9:8080", "10.0.0.9:8080", ""},
		{"10.0.0.88:80", "10.0.0.9:80", `type = "http", address = "10.1.0.9"`, "10.1.0.9:80", "10.1.0.9", ""},
		{"10.0.0.88:80", "10.0.0.9:80", `type = "http", address = "10.1.0.9:81", host = "a.example"`, "10.1.0.9:81", "a.example", ""},
		{"10.0.0.88:443", "10.0.0.9", `type = "https"`, "10.0.0.9:443", "10.0.0.9", "10.0.0.9"},
		{"10.0.0.88:80", "10.0.0.9:80", `type = "https"`, "10.0.0.9:80", "10.0.0.9:80", "10.0.0.9"},
		{"10.0.0.88:443", "10.0.0.9", `type = "https", host = "a.example:444"`, "10.0.0.9:443", "a.example:444", "a.example"},
		{"10.0.0.88:443", "10.0.0.9", `type = "https", host = "a.example", server_name = "b.example"`, "10.0.0.9:443", "a.example", "b.example"},
		{"[2001:db8::88]:443", "2001:db8::9", `type = "https"`, "[2001:db8::9]:443", "[2001:db8::9]", "2001:db8::9"},
		{"[2001:db8::88]:80", "[2001:db8::9]:80", `type = "https"`, "[2001:db8::9]:80", "[2001:db8::9]:80", "2001:db8::9"},
		{"[2001:db8::88]:80", "[2001:db8::9]:80", `type = "https", host = "[2001:db8::1]"`, "[2001:db8::9]:80", "[2001:db8::1]", "2001:db8::1"},
		{"10.0.0.88:80", "10.0.0.9:80", `type = "connect", address = "[2001:db8::9]:8080", from = "2001:db8::1"`, "[2001:db8::9]:8080", "", ""},
	} {
		s := service(t, "address = \""+c.service+"\"\nreal_servers = [{ address = \""+c.server+"\" }]\ncheck = { "+c.check+" }\n")
		ck := s.RealServers[0].Checks[0]
		if ck.Address != addrPort(c.address) || ck.Host != c.host || ck.ServerName != c.name {
			t.Errorf("%s: probes %s as %q, certificate for %q; want %s, %q, %q", c.check, ck.Address, ck.Host, ck.ServerName, c.address, c.host, c.name)
		}
	}
}

// TestCheckKeys: every key of every type arrives.
func TestCheckKeys(t *testing.T) {
	s := service(t, `address = "10.0.0.88:443"
real_servers = [{ address = "10.0.0.9:443" }]
check = [
  { type = "tcp", send = "PING\r\n", expect = '^\+PONG', interval = "5s", fast_interval = "500ms", timeout = "3s", rise = 4, fall = 5, from = "10.0.0.12", mark = 7 },
  { type = "https", method = "POST", host = "www.example.com", path = "/a?b=c", headers = { A = "1" }, status = "401,200-299 , 301 - 302", expect = "ok", verify = false, ca_file = "/ca.pem" },
  { type = "connect", interval = "100ms" },
  { type = "off" },
]
`)
	at := func(line int) Position { return Position{Line: line, Col: 3} }
	target := addrPort("10.0.0.9:443")
	second := time.Second
	want := []Check{
		{Address: target, CheckSettings: &CheckSettings{Type: "tcp", Name: "tcp", Close: "reset", ReadLimit: 16384, Interval: 5 * second, FastInterval: second / 2, Timeout: 3 * second, Rise: 4, Fall: 5,
			Source: Source{From: addr("10.0.0.12")}, Mark: 7, Send: "PING\r\n", Expect: `^\+PONG`, Position: at(6)}},
		{Address: target, Host: "www.example.com", ServerName: "www.example.com", CheckSettings: &CheckSettings{Type: "https", Name: "https /a", ReadLimit: 262144, Interval: 2 * second, FastInterval: 2 * second, Timeout: second, Rise: 2, Fall: 3,
			Method: "POST", Path: "/a?b=c", Headers: map[string]string{"A": "1"},
			Status: []StatusRange{{200, 299}, {301, 302}, {401, 401}}, BodyExpect: "ok",
			UseTLS: true, TLS: TLS{Verify: false, CAFile: "/ca.pem", MinVersion: "1.2"}, Position: at(7)}},
		{Address: target, CheckSettings: &CheckSettings{Type: "connect", Name: "connect", Close: "reset", Interval: second / 10, FastInterval: second / 10, Timeout: second / 10, Rise: 2, Fall: 3, Position: at(8)}},
		{Address: target, CheckSettings: &CheckSettings{Type: "off", Name: "off", Interval: 2 * second, FastInterval: 2 * second, Timeout: second, Rise: 2, Fall: 3, Position: at(9)}},
	}
	if d := cmp.Diff(want, s.RealServers[0].Checks, same...); d != "" {
		t.Error(d)
	}
}

// TestCheckNames: a check has its label, or what distinguishes it from the others of
// its server, and no two have the same name.
func TestCheckNames(t *testing.T) {
	for _, c := range []struct{ checks, want string }{
		{`{ type = "http", path = "/healthz" }`, "http"},
		{`{ type = "http", path = "/healthz", label = "front" }`, "front"},
		{`[{ type = "http", path = "/healthz?key=secret", address = ":8080" }, { type = "http" }, { type = "http" }]`, "http /healthz :8080, http, http #2"},
		{`[{ type = "connect" }, { type = "http", label = "connect" }]`, "connect #2, connect"},
		{`[{ type = "connect", address = "10.0.0.1:99" }, { type = "connect", address = "10.0.0.1" }, { type = "connect", address = "db.example:99" }]`,
			"connect 10.0.0.1:99, connect 10.0.0.1, connect db.example:99"},
		{`[{ type = "connect" }, { type = "connect", through = true }]`, "connect, connect through"},
	} {
		s := service(t, "address = \"10.0.0.88:80\"\nreal_servers = [{ address = \"10.0.0.9:80\" }]\ncheck = "+c.checks+"\n")
		var names []string
		for _, check := range s.RealServers[0].Checks {
			names = append(names, check.Name)
		}
		if got := strings.Join(names, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", c.checks, got, c.want)
		}
	}
}

// TestCheckSources: where probes come from, as each director has it.
func TestCheckSources(t *testing.T) {
	text := "[[director]]\nname = \"lb1\"\n[[director]]\nname = \"lb2\"\n[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\n" +
		"real_servers = [{ address = \"10.0.0.9:80\" }]\ncheck = { type = \"http\", "
	one, two := Source{From: addr("10.0.0.12"), Interface: "vrf-a"}, Source{From: addr("10.0.0.13"), Interface: "vrf-a"}
	for _, c := range []struct {
		keys string
		want [2]Source
	}{
		{`timeout = "1s"`, [2]Source{}},
		{`from = "10.0.0.12", interface = "vrf-a"`, [2]Source{one, one}},
		{`from = { lb1 = "10.0.0.12", lb2 = "10.0.0.13" }, interface = "vrf-a"`, [2]Source{one, two}},
		{`from = { lb1 = "10.0.0.12", lb2 = "10.0.0.12" }, interface = { lb1 = "vrf-a", lb2 = "vrf-a" }`, [2]Source{one, one}},
	} {
		for i, director := range []string{"lb1", "lb2"} {
			check := load(t, text+c.keys+" }\n", director).Services[0].RealServers[0].Checks[0]
			if got := check.SourceOf(director); got != c.want[i] || (check.Sources != nil) != (c.want[0] != c.want[1]) {
				t.Errorf("%s: %s has %+v, %+v", c.keys, director, got, check.Sources)
			}
		}
	}
}

// TestPrograms: a warning about more programs than can run at once.
func TestPrograms(t *testing.T) {
	text := func(parallel, timeout string) string {
		return "[checker]\nexec_parallel = " + parallel + "\n[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\n" +
			"check = { type = \"exec\", command = [\"/bin/true\"], interval = \"2s\", timeout = \"" + timeout + "\" }\n" +
			"real_servers = [{ address = \"10.0.0.9:80\" }, { address = \"10.0.0.10:80\" }, { address = \"10.0.0.11:80\" }]\n"
	}
	for _, c := range []struct {
		parallel, timeout string
		warn              bool
	}{{"1", "1s", true}, {"2", "1s", false}, {"2", "2s", true}, {"3", "2s", false}} {
		f, err := Parse("lvsd.toml", []byte(text(c.parallel, c.timeout)))
		if err != nil {
			t.Fatal(err)
		}
		if warned := len(f.Warnings) == 1 && strings.Contains(f.Warnings[0].Error(), "exec_parallel"); warned != c.warn {
			t.Errorf("%+v: %v", c, f.Warnings)
		}
	}
}

// TestPersistence: which addresses count as one client.
func TestPersistence(t *testing.T) {
	for _, c := range []struct {
		service, server, mask string
		bits                  int
	}{
		{"10.0.0.88:80", "10.0.0.9", `""`, 32},
		{"10.0.0.88:80", "10.0.0.9", `"255.255.255.0"`, 24},
		{"10.0.0.88:80", "10.0.0.9", `"255.255.255.255"`, 32},
		{"10.0.0.88:80", "10.0.0.9", `"128.0.0.0"`, 1},
		{"10.0.0.88:80", "10.0.0.9", `"/24"`, 24},
		{"10.0.0.88:80", "10.0.0.9", `24`, 24},
		{"[2001:db8::88]:80", "2001:db8::9", `""`, 128},
		{"[2001:db8::88]:80", "2001:db8::9", `"64"`, 64},
		{"[2001:db8::88]:80", "2001:db8::9", `64`, 64},
	} {
		s := service(t, "address = \""+c.service+"\"\nreal_servers = [{ address = \""+c.server+"\" }]\npersistence = \"5m\"\npersistence_netmask = "+c.mask)
		if s.PersistenceBits != c.bits || s.Persistence != 5*time.Minute {
			t.Errorf("%s %s: %d bits for %s, want %d", c.service, c.mask, s.PersistenceBits, s.Persistence, c.bits)
		}
	}
}
