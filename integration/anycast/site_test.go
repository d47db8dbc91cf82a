package anycast

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

const (
	page    = "docs/guides/anycast.md"
	vip     = "192.0.2.80"
	vipPort = vip + ":80"
	table   = "112"
)

// patience is far above what the routing daemons and the checks need on a busy machine.
const patience = 60 * time.Second

// site is the set-up of the guide: a client behind a router, three directors, two real
// servers.
type site struct {
	*lab.Lab
	t       *testing.T
	guide   lvsdtest.Guide
	client  *lab.Host
	router  *lab.Host
	inside  *lab.LAN
	lb      []*director
	servers []*lab.Server
	config  string
}

// director is one lvsd with its routing daemon.
type director struct {
	*lab.Host
	site   *site
	socket string
	lvsd   *lab.Process
}

// newSite builds the hosts and starts the router, the routing daemons and lvsd.
func newSite(t *testing.T, speak speaker) *site {
	t.Helper()
	speak.require(t)
	s := newHosts(t, 2)
	speak.start(s, s.router, speak.name+" router", "10.0.0.1")
	for _, d := range s.lb {
		speak.start(s, d.Host, speak.name+" director", d.Addr().String())
		d.start()
	}
	s.waitHops(3)
	return s
}

// newHosts builds the hosts and the configuration, with the guide's two real servers or more.
func newHosts(t *testing.T, servers int) *site {
	t.Helper()
	lab.RequireKernel(t)
	s := &site{Lab: lab.New(t), t: t, guide: lvsdtest.ReadGuide(t, page)}
	outside, inside := s.LAN("outside", "198.51.100.0/24"), s.LAN("inside", "10.0.0.0/24")
	s.inside = inside
	s.client = s.Host("client", outside, "198.51.100.2/24")
	s.client.DefaultRoute("198.51.100.1")
	s.router = s.Host("router", inside, "10.0.0.1/24")
	s.router.Plug(outside, "198.51.100.1/24")
	s.router.SetSysctl("net.ipv4.ip_forward", "1")
	s.router.SetSysctl("net.ipv4.conf.all.rp_filter", "0")
	s.router.SetSysctl("net.ipv4.fib_multipath_hash_policy", "1")
	for i := range servers {
		r := s.Host(fmt.Sprint("rs", i+1), inside, fmt.Sprintf("10.0.0.%d/24", 21+i))
		r.PrepareDR(vip)
		r.DefaultRoute("10.0.0.1")
		s.servers = append(s.servers, lab.ServeLines(r, ":80", r.Name))
	}
	for i := range 3 {
		d := &director{Host: s.Host(fmt.Sprint("lb", i+1), inside, fmt.Sprintf("10.0.0.%d/24", 12+i)), site: s}
		d.DefaultRoute("10.0.0.1")
		d.socket = s.Path(d.Name + ".sock")
		// lvsd host prepare sets these, and wants a routing daemon at its usual place.
		d.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
		d.SetSysctl("net.ipv4.vs.sloppy_tcp", "1")
		d.SetSysctl("net.ipv4.vs.schedule_icmp", "1")
		s.lb = append(s.lb, d)
	}
	s.write()
	return s
}

// write writes the guide's configuration, with files of its own for each director.
func (s *site) write() {
	text := s.guide["toml"]
	for i := 2; i < len(s.servers); i++ {
		text = lvsdtest.Replace(s.t, text, "real_servers = [\n", fmt.Sprintf("real_servers = [\n  { address = \"10.0.0.%d:80\" },\n", 21+i))
	}
	key := s.WriteFile("pair.key", lvsdtest.AuthKey)
	if err := os.Chmod(key, 0o600); err != nil {
		s.t.Fatal(err)
	}
	text = lvsdtest.Replace(s.t, text, `"/etc/lvsd/pair.key"`, strconv.Quote(key))
	each := func(suffix string) string {
		var parts []string
		for _, name := range []string{"lb1", "lb2", "lb3"} {
			parts = append(parts, fmt.Sprintf("%s = %q", name, s.Path(name+suffix)))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	s.config = s.WriteFile("lvsd.toml", text+"\n[global]\ncontrol_socket = "+each(".sock")+"\nstate_dir = "+each(".state")+"\n")
}

// start starts lvsd on a director.
func (d *director) start() {
	d.site.t.Helper()
	d.lvsd = d.Start(lvsdtest.Binary(d.site.t), "run", "-c", d.site.config, "--director", d.Name)
	d.site.WaitUntil(patience, d.Name+" to serve its status", func() bool {
		_, err := d.status()
		if err != nil && !d.lvsd.Running() {
			d.site.t.Fatalf("%s ended with %d:\n%s", d.Name, d.lvsd.ExitCode(), d.lvsd.Output())
		}
		return err == nil
	})
}

// run runs a command of lvsd on a director.
func (d *director) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.site.t.Context(), patience)
	defer cancel()
	return d.Run(ctx, append([]string{lvsdtest.Binary(d.site.t)}, args...)...)
}

// mustRun is run for a command that must succeed.
func (d *director) mustRun(args ...string) string {
	d.site.t.Helper()
	out, err := d.run(args...)
	if err != nil {
		d.site.t.Fatalf("%s: lvsd %s: %v\n%s", d.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// status is what the tests read of lvsd status --json.
type status struct {
	Problems  []string `json:"problems"`
	Announces []struct {
		Name      string `json:"name"`
		Announced bool   `json:"announced"`
		Serving   bool   `json:"serving"`
		Kept      bool   `json:"kept"`
		Metric    int    `json:"metric"`
		Reason    string `json:"reason"`
		Why       string `json:"why"`
		Addresses []struct {
			Address  string `json:"address"`
			Accepted bool   `json:"accepted"`
			Routed   bool   `json:"routed"`
		} `json:"addresses"`
		Directors []string `json:"directors"`
	} `json:"announces"`
	Routes struct {
		Repairs int `json:"repairs"`
	} `json:"routes"`
}

func (d *director) status() (s status, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}}
	resp, err := client.Get("http://lvsd/api/v1/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// waitStatus waits until the announcement of a director fulfils a condition.
func (d *director) waitStatus(what string, condition func(status) bool) {
	d.site.t.Helper()
	var last status
	defer func() {
		if d.site.t.Failed() {
			d.site.t.Logf("%s: %+v", d.Name, last)
		}
	}()
	d.site.WaitUntil(patience, d.Name+": "+what, func() bool {
		s, err := d.status()
		last = s
		return err == nil && len(s.Announces) == 1 && condition(s)
	})
}

// routed is the routes in lvsd's table.
func (d *director) routed() string { return d.MustRun("ip", "route", "show", "table", table) }

// hops counts the directors that the router uses.
func (s *site) hops() int {
	out := s.router.MustRun("ip", "route", "show", vip)
	return strings.Count(out, "via 10.0.0.")
}

// waitHops waits until the router uses so many directors, and returns how long that took.
func (s *site) waitHops(n int) time.Duration {
	s.t.Helper()
	return s.WaitUntil(patience, fmt.Sprintf("%d directors at the router", n), func() bool { return s.hops() == n })
}

// speaker is a routing daemon.
type speaker struct {
	name    string // of the guide's blocks
	require func(t *testing.T)
	start   func(s *site, h *lab.Host, block, address string)
}

var speakers = []speaker{
	{"bird", requireBIRD, startBIRD},
	{"frr", requireFRR, startFRR},
}

func requireBIRD(t *testing.T) {
	_, err := exec.LookPath("bird")
	lab.Require(t, err) // make deps installs bird2
}

// startBIRD starts BIRD with a block of the guide, for the director that has the address.
func startBIRD(s *site, h *lab.Host, block, address string) {
	s.t.Helper()
	text := s.guide[block]
	if text == "" {
		s.t.Fatalf("%s has no block %q", page, block)
	}
	if strings.HasSuffix(block, "director") {
		text = strings.ReplaceAll(text, "10.0.0.12", address)
	}
	file := s.WriteFile(h.Name+".bird.conf", text)
	h.Start("bird", "-f", "-c", file, "-s", s.Path(h.Name+".bird.ctl"), "-P", s.Path(h.Name+".bird.pid"))
}

const frrPrograms = "/usr/lib/frr/"

func requireFRR(t *testing.T) {
	for _, p := range []string{"zebra", "bgpd"} {
		_, err := os.Stat(frrPrograms + p)
		lab.Require(t, err) // make deps installs frr
	}
}

// startFRR starts zebra and bgpd, each with its part of a block of the guide.
func startFRR(s *site, h *lab.Host, block, address string) {
	s.t.Helper()
	text := s.guide[block]
	at := strings.Index(text, "router bgp")
	if at < 0 {
		s.t.Fatalf("%s has no block %q with a router bgp", page, block)
	}
	if strings.HasSuffix(block, "director") {
		text = strings.ReplaceAll(text, "10.0.0.12", address)
	}
	owner, err := user.Lookup("frr")
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	dir := s.Path(h.Name + ".frr")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	parts := map[string]string{"zebra": text[:at], "bgpd": text[at:]}
	for name, part := range parts {
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(part), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "zebra.conf"), filepath.Join(dir, "bgpd.conf")} {
		if err := os.Chown(path, uid, -1); err != nil {
			s.t.Fatal(err)
		}
	}
	// The lab's folder may be root's alone.
	for up := filepath.Dir(dir); up != "/" && up != os.TempDir(); up = filepath.Dir(up) {
		_ = os.Chmod(up, 0o755)
	}
	for _, name := range []string{"zebra", "bgpd"} {
		h.Start(frrPrograms+name, "-u", "frr", "-g", "frr", "-z", filepath.Join(dir, "zserv"), "--vty_socket", dir,
			"-i", filepath.Join(dir, name+".pid"), "-f", filepath.Join(dir, name+".conf"), "--log", "stdout")
		s.WaitUntil(patience, name+" on "+h.Name, func() bool {
			c, err := net.Dial("unix", filepath.Join(dir, name+".vty"))
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
}
