package host

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/config"
	"lvsd/integration/lvsdtest"
)

// TestRoutingDaemon: a daemon is found by its socket, and what it reads by its
// configuration.
func TestRoutingDaemon(t *testing.T) {
	for _, c := range []struct {
		name, socket, own, greeting, file, text string
		six, ok                                 bool
		have, remedy                            string
	}{
		{name: "none", have: "not running", remedy: "docs/guides/anycast.md"},
		{name: "BIRD that reads it", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf",
			text: "protocol kernel vips {\n\tkernel table 112;\n\tlearn;\n}\n", ok: true, have: "BIRD 2.0.12, reads table 112"},
		{name: "BIRD that does not learn", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf",
			text: "protocol kernel { learn; }\nprotocol kernel vips {\n\tkernel table 112; # learn;\n}\nprotocol kernel { learn; }\n", have: "BIRD 2.0.12", remedy: "learn; in the protocol kernel of table 112"},
		{name: "BIRD that reads IPv4 alone", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf", six: true,
			text: "protocol kernel { ipv4 { import all; }; kernel table 112; learn; }\nprotocol bgp { ipv6; }\n", have: "BIRD 2.0.12", remedy: "protocol kernel { ipv6 {"},
		{name: "BIRD that reads both", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf", six: true,
			text: "protocol kernel a { ipv4 { import all; }; kernel table 112; learn; }\nprotocol kernel b { ipv6 { import all; }; kernel table 112; learn yes; }\n", ok: true, have: "reads table 112"},
		{name: "BIRD that learns by a template", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf",
			text: "template kernel t { learn; }\nprotocol kernel vips from t { kernel table 112; }\n", ok: true, have: "reads table 112"},
		{name: "one where the configuration says", socket: "run/own.ctl", own: "/run/own.ctl", ok: true, have: "running at /run/own.ctl, with a configuration that is not looked for"},
		{name: "none where the configuration says", own: "/run/own.ctl", have: "not running", remedy: "docs/guides/anycast.md"},
		{name: "a usual one where the configuration says", socket: "run/bird/bird.ctl", own: "/run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", have: "BIRD 2.0.12", remedy: "kernel table 112"},
		{name: "BIRD that reads another", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/bird.conf",
			text: "protocol kernel { kernel table 1120; }\n# kernel table 112;\n", have: "BIRD 2.0.12", remedy: "kernel table 112; learn;"},
		{name: "BIRD with a part of its configuration elsewhere", socket: "run/bird/bird.ctl", greeting: "0001 BIRD 2.0.12 ready.", file: "etc/bird/conf.d/vips.conf",
			text: "protocol kernel { kernel table 112; learn; }\n", ok: true, have: "reads table 112"},
		{name: "FRR that imports it", socket: "run/frr/zebra.vty", file: "etc/frr/frr.conf",
			text: "ip import-table 112\nrouter bgp 65001\n address-family ipv4 unicast\n  redistribute table 112\n", ok: true, have: "FRR, reads table 112"},
		{name: "FRR that imports it and announces nothing", socket: "run/frr/zebra.vty", file: "etc/frr/frr.conf",
			text: "ip import-table 112\nrouter bgp 65001\n", have: "FRR", remedy: "redistribute table 112, in router bgp"},
		{name: "FRR that redistributes it", socket: "run/frr/zebra.vty", file: "etc/frr/frr.conf",
			text: "router bgp 65001\n address-family ipv6 unicast\n  redistribute table-direct 112\n", ok: true, have: "FRR, reads table 112"},
		{name: "FRR that does not", socket: "run/frr/zebra.vty", file: "etc/frr/frr.conf", text: "ip import-table 11\n", have: "FRR", remedy: "ip import-table 112"},
		{name: "FRR that imports IPv4 alone", socket: "run/frr/zebra.vty", file: "etc/frr/frr.conf", text: "ip import-table 112\n", six: true,
			have: "FRR", remedy: "redistribute table-direct 112 (FRR 9.1"},
		{name: "only files", file: "etc/frr/frr.conf", text: "ip import-table 112\n", have: "not running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			if c.file != "" {
				path := filepath.Join(root, c.file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(c.text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			dial := func(path string, _ bool) (string, error) {
				if path != filepath.Join(root, c.socket) {
					return "", os.ErrNotExist
				}
				return c.greeting, nil
			}
			var own []string
			if c.own != "" {
				own = []string{c.own}
			}
			f := routingDaemons{root: root, dial: dial}.finding(112, c.six, own)
			if f.OK != c.ok || !strings.Contains(f.Have, c.have) || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestRoutingDaemonAt: the socket that the configuration names is tried.
func TestRoutingDaemonAt(t *testing.T) {
	a := config.Announce{Name: "any", RoutingDaemon: "/run/own.ctl"}
	for err, ok := range map[error]bool{nil: true, os.ErrPermission: true, os.ErrNotExist: false} {
		f := routingDaemonAt(a, func(path string, _ bool) (string, error) {
			if path != a.RoutingDaemon {
				t.Errorf("tries %s", path)
			}
			return "", err
		})
		if f.OK != ok || f.OK == (f.Remedy != "") {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// TestAnnouncingNeeds: only what the configuration needs is looked for.
func TestAnnouncingNeeds(t *testing.T) {
	names := func(c *config.Config) (all []string) {
		for _, f := range announcing(c) {
			all = append(all, f.Name)
		}
		return all
	}
	four, six := netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80")
	service := func(a netip.Addr, scheduler string) config.Service {
		return config.Service{Address: netip.AddrPortFrom(a, 80), Scheduler: scheduler, Protocol: "tcp"}
	}
	sctp := service(four, "mh")
	sctp.Protocol = "sctp"
	for _, c := range []struct {
		config config.Config
		want   string
	}{
		{config.Config{Services: []config.Service{service(four, "mh")}}, ""},
		{config.Config{Announces: []config.Announce{{Table: 112, Addresses: []netip.Addr{four}}}, Services: []config.Service{service(four, "mh")}},
			"net.ipv4.conf.all.arp_ignore net.ipv4.vs.sloppy_tcp net.ipv4.vs.schedule_icmp routing daemon"},
		{config.Config{Announces: []config.Announce{{Table: 112, Addresses: []netip.Addr{four}}}, Services: []config.Service{sctp}},
			"net.ipv4.conf.all.arp_ignore net.ipv4.vs.sloppy_sctp net.ipv4.vs.schedule_icmp routing daemon"},
		{config.Config{Announces: []config.Announce{{Table: 112, Addresses: []netip.Addr{six}}}, Services: []config.Service{{FWMark: 1, Scheduler: "mh"}}},
			"net.ipv4.vs.sloppy_tcp net.ipv4.vs.schedule_icmp routing daemon"},
		{config.Config{Announces: []config.Announce{{Table: 112, Addresses: []netip.Addr{six}}}, Services: []config.Service{service(six, "wlc"), service(four, "mh")}},
			"routing daemon"},
	} {
		if got := strings.Join(names(&c.config), " "); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestGuide: the configurations of the guide announce its table.
func TestGuide(t *testing.T) {
	guide := lvsdtest.ReadGuide(t, "docs/guides/anycast.md")
	for _, c := range []struct {
		missing func(string, int, bool) string
		text    string
		six     bool
	}{
		{birdMissing, guide["bird director"], false},
		{birdMissing, guide["bird director"] + guide["bird director ipv6"], true},
		{frrMissing, guide["frr director"], false},
	} {
		if missing := c.missing(c.text, 112, c.six); missing != "" {
			t.Errorf("lacks %q:\n%s", missing, c.text)
		}
	}
}

// TestAnnouncedAddress: an announced address of an interface is found, with the way to
// remove it, and one in an interface's network.
func TestAnnouncedAddress(t *testing.T) {
	inNamespace(t)
	if out, err := exec.Command("ip", "address", "add", "192.0.2.80/24", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := &config.Config{Announces: []config.Announce{{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("192.0.2.81")}}}}
	all := arp(c, uses{})
	if len(all) != 1 || all[0].OK || all[0].Have != "on lo" || all[0].Remedy != "ip address del 192.0.2.80/24 dev lo" || !all[0].manual {
		t.Errorf("%+v", all)
	}
	if out, err := exec.Command("sh", "-c", "ip link add eth0 type veth peer name eth1 && ip address add 192.0.2.1/24 dev eth0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.Announces[0].Addresses = c.Announces[0].Addresses[1:]
	if all := arp(c, uses{}); len(all) != 1 || all[0].OK || all[0].Have != "in 192.0.2.0/24 of eth0" || all[0].Automatic() {
		t.Errorf("%+v", all)
	}
}
