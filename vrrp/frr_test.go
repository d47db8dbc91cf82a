package vrrp

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// frr is FRR's vrrpd, with the zebra that it needs, on a host. It uses a macvlan with
// the virtual router's MAC address, which always has the virtual addresses and is up
// only while it is master.
type frr struct {
	t     testing.TB
	site  *site
	host  string
	dir   string // its sockets; its user owns it
	six   bool
	zebra *process
	vrrpd *process
}

const frrPrograms = "/usr/lib/frr/"

// frrDialects are the dialects that vrrpd supports: it has no unicast and no password.
var frrDialects = []struct {
	dialect
	lines string // of its interface
	mac   string
}{
	{multicast3, " vrrp 51 version 3\n vrrp 51 advertisement-interval 100\n vrrp 51 ip 10.0.0.88\n", "00:00:5e:00:01:33"},
	{dialect{name: "version 3, IPv6", v6: true, change: func(c *Config) { c.Addresses = addrs6 }},
		" vrrp 51 version 3\n vrrp 51 advertisement-interval 100\n vrrp 51 ipv6 fe80::100\n vrrp 51 ipv6 2001:db8::100\n", "00:00:5e:00:02:33"},
	{dialect{name: "version 2", change: version2("")}, " vrrp 51 version 2\n vrrp 51 advertisement-interval 1000\n vrrp 51 ip 10.0.0.88\n", "00:00:5e:00:01:33"},
}

// newFRR prepares the interface and the folder; start starts the programs.
func newFRR(s *site, host, mac string, six bool, addrs []netip.Prefix, lines string, priority uint8) *frr {
	s.t.Helper()
	ip(s.t, "-n", s.ns(host), "link", "add", "vrrp", "link", "eth0", "address", mac, "type", "macvlan", "mode", "bridge")
	for _, a := range addrs {
		args := []string{"-n", s.ns(host), "address", "add", a.String(), "dev", "vrrp"}
		if six {
			args = append(args, "nodad")
		}
		ip(s.t, args...)
	}
	ip(s.t, "-n", s.ns(host), "link", "set", "vrrp", "up")
	dir, err := os.MkdirTemp("", "frr")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner, err := user.Lookup("frr")
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	file := filepath.Join(dir, "frr.conf")
	text := fmt.Sprintf("interface eth0\n%s vrrp 51 priority %d\n", lines, priority)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		if err := os.Chown(path, uid, -1); err != nil {
			s.t.Fatal(err)
		}
	}
	return &frr{t: s.t, site: s, host: host, dir: dir, six: six}
}

func (f *frr) start() {
	f.t.Helper()
	// The sockets show when it is ready: those of an earlier run must not exist.
	for _, name := range []string{"zserv", "zebra.vty", "vrrpd.vty"} {
		_ = os.Remove(filepath.Join(f.dir, name))
	}
	run := func(program, file string) *process {
		p := f.site.start(f.host, nil, frrPrograms+program, "-u", "frr", "-g", "frr", "-z", filepath.Join(f.dir, "zserv"),
			"--vty_socket", f.dir, "-i", filepath.Join(f.dir, program+".pid"), "-f", file, "--log", "stdout")
		eventually(f.t, program+" listens", func() bool { return answers(filepath.Join(f.dir, program+".vty")) })
		return p
	}
	f.zebra = run("zebra", "/dev/null")
	eventually(f.t, "zebra takes clients", func() bool { return answers(filepath.Join(f.dir, "zserv")) })
	f.vrrpd = run("vrrpd", filepath.Join(f.dir, "frr.conf"))
}

func answers(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func (f *frr) end() {
	f.vrrpd.end(syscall.SIGTERM)
	f.zebra.end(syscall.SIGTERM)
}

// frrState is the output of `show vrrp` for one family.
type frrState struct {
	Status string
	Stats  struct{ AdverTx, AdverRx int }
}

func (f *frr) state() frrState {
	out, err := exec.Command("vtysh", "--vty_socket", f.dir, "-d", "vrrpd", "-c", "show vrrp json").Output()
	if err != nil {
		return frrState{Status: err.Error()}
	}
	var all []struct{ V4, V6 frrState }
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return frrState{Status: fmt.Sprintf("%v: %s", err, out)}
	}
	if f.six {
		return all[0].V6
	}
	return all[0].V4
}

func (f *frr) master() bool { return f.state().Status == "Master" }

// FRR's vrrpd as a peer, in each dialect and order of priority. Its version is logged.
func TestKernelBesideFRR(t *testing.T) {
	needKernel(t, "vtysh", frrPrograms+"vrrpd", frrPrograms+"zebra")
	version, _ := exec.Command(frrPrograms+"vrrpd", "--version").Output()
	t.Logf("%s", strings.Split(string(version), "\n")[0])
	orders := []struct {
		name         string
		ours, theirs uint8
	}{{"ours is better", 200, 100}, {"theirs is better", 100, 200}, {"equal, theirs has the greater address", 150, 150}}
	for _, d := range frrDialects {
		for _, o := range orders {
			t.Run(d.name+"/"+o.name, func(t *testing.T) {
				s := pair(t)
				cfg := d.config(t, lb1, lb2, o.ours)
				f := newFRR(s, "d2", d.mac, d.v6, cfg.Addresses, d.lines, o.theirs)
				besideFRR(t, s, f, cfg, d.vip(), o.ours, o.theirs)
			})
		}
	}
}

// FRR takes over soon after ours resigned, and not after the two minutes of its master
// down interval, in each dialect.
func TestKernelFRRHearsAResignation(t *testing.T) {
	needKernel(t, "vtysh", frrPrograms+"vrrpd", frrPrograms+"zebra")
	for _, d := range frrDialects {
		t.Run(d.name, func(t *testing.T) {
			s := pair(t)
			cfg := d.config(t, lb1, lb2, 255) // the owner of the addresses does not wait either
			cfg.AdvertInterval = 40 * time.Second
			lines := strings.NewReplacer("-interval 1000", "-interval 40000", "-interval 100", "-interval 40000").Replace(d.lines)
			f := newFRR(s, "d2", d.mac, d.v6, cfg.Addresses, lines, 254)
			f.start()
			eventually(t, "FRR takes part", func() bool { return f.state().Status == "Backup" })
			o := s.director("d1", cfg)
			eventually(t, "FRR hears ours", func() bool { return f.state().Stats.AdverRx > 0 && !f.master() })
			o.end(syscall.SIGTERM)
			eventually(t, "FRR is master", f.master)
			f.end()
		})
	}
}

func besideFRR(t *testing.T, s *site, f *frr, cfg Config, held netip.Prefix, mine, theirs uint8) {
	one := func(what string, weHold bool) {
		t.Helper()
		eventually(t, what, func() bool { return s.holds("d1", held) == weHold && f.master() != weHold })
	}
	f.start()
	eventually(t, "FRR is master alone", f.master)
	d := s.director("d1", cfg)
	if mine > theirs {
		one("ours preempts", true)
	} else {
		eventually(t, "FRR is heard", func() bool { return d.status().AdvertsReceived > 0 })
		one("theirs stays", false)
	}
	// Theirs stops: we accept its priority 0.
	f.end()
	eventually(t, "ours alone", func() bool { return s.holds("d1", held) })
	if mine <= theirs && !d.became(Master, ReasonResigned) {
		eventually(t, "the resignation is understood", func() bool { return d.became(Master, ReasonResigned) })
	}
	f.start()
	switch {
	case theirs > mine:
		one("theirs preempts", false)
	default: // of equal directors the first stays master, unless both are masters at once
		eventually(t, "one holder", func() bool { return s.holds("d1", held) != f.master() })
	}
	// Ours stops: it accepts our priority 0, or times out.
	d.end(syscall.SIGTERM)
	one("theirs alone", false)
	d = s.director("d1", cfg)
	if mine > theirs {
		one("ours preempts again", true)
	}
	eventually(t, "FRR is heard again", func() bool { return d.status().AdvertsReceived > 0 })
	st := d.status()
	if st.State == Init || st.Mismatched > 0 || st.Checksums["rfc9568"] != 0 {
		t.Errorf("%+v", st)
	}
	for reason, n := range st.Dropped {
		if n > 0 {
			t.Errorf("%d adverts dropped: %s", n, reason)
		}
	}
	if mine > theirs {
		eventually(t, "FRR hears ours", func() bool { return f.state().Stats.AdverRx > 0 })
	}
	f.end()
}
