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
	"slices"
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
	vip6    = "2001:db8::80"
	table   = "112"
)

// patience is far above what the routing daemons and the checks need on a busy machine.
const patience = 60 * time.Second

// setting is how a site differs from the guide's.
type setting struct {
	name    string
	speaker speaker
	six     bool // IPv6 too
	silent  bool // a director that dies keeps its carrier
	tun     bool // tunnels instead of direct routing
	servers int  // 0: the guide's two
	edit    func(config string) string
	watched bool // the control socket of the routing daemon is configured

	late    int // so many directors are not started by newSite
	rolling int // how many directors get the rolling upgrade
}

// site is the set-up of the guide: a client behind a router, three directors, two real
// servers.
type site struct {
	*lab.Lab
	t       *testing.T
	setting setting
	guide   lvsdtest.Guide
	client  *lab.Host
	router  *lab.Host
	outside *lab.LAN
	inside  *lab.LAN
	lb      []*director
	servers []*lab.Server
	raw     int               // see sendSYN
	vty     map[string]string // the folder of FRR's sockets on a host
}

// director is one lvsd with its routing daemon.
type director struct {
	*lab.Host
	site    *site
	socket  string
	config  string // its file
	lvsd    *lab.Process
	speaker *lab.Process
}

// newSite builds the hosts and starts the router, the routing daemons and lvsd.
func newSite(t *testing.T, how setting) *site {
	t.Helper()
	how.speaker.require(t)
	s := newHosts(t, how)
	how.speaker.start(s, s.router, "router", "")
	n := 3 - how.late
	for _, d := range s.lb[:n] {
		d.startSpeaker()
		d.start()
	}
	s.waitHops(n)
	for _, d := range s.lb[:n] {
		d.waitStatus("to serve, and to know the others", func(st status) bool {
			return st.Announces[0].Serving && len(st.Announces[0].Directors) == n-1
		})
	}
	return s
}

// startSpeaker starts a director's routing daemon.
func (d *director) startSpeaker() {
	d.site.t.Helper()
	d.speaker = d.site.setting.speaker.start(d.site, d.Host, "director", strings.TrimPrefix(d.Addr().String(), "10.0.0."))
}

// newHosts builds the hosts and the configuration.
func newHosts(t *testing.T, how setting) *site {
	t.Helper()
	lab.RequireKernel(t)
	s := &site{Lab: lab.New(t), t: t, setting: how, guide: lvsdtest.ReadGuide(t, page), vty: map[string]string{}}
	outside, inside := s.LAN("outside", "198.51.100.0/24"), s.LAN("inside", "10.0.0.0/24")
	s.outside, s.inside = outside, inside
	s.client = s.Host("client", outside, "198.51.100.2/24")
	s.router = s.Host("router", inside, "10.0.0.1/24")
	s.router.Plug(outside, "198.51.100.1/24")
	s.router.SetSysctl("net.ipv4.ip_forward", "1")
	s.router.SetSysctl("net.ipv4.conf.all.rp_filter", "0")
	s.client.DefaultRoute("198.51.100.1")
	if how.six {
		s.client.AddAddress("eth0", "2001:db8:20::2/64")
		s.router.AddAddress("eth0", "2001:db8:10::1/64")
		s.router.AddAddress("eth1", "2001:db8:20::1/64")
		s.router.SetSysctl("net.ipv6.conf.all.forwarding", "1")
		s.client.DefaultRoute("2001:db8:20::1")
	}
	s.hashByL4()
	for i := range max(how.servers, 2) {
		s.servers = append(s.servers, s.realServer(i+1))
	}
	for i := range 3 {
		d := &director{Host: s.host("lb", i+1, 12+i), site: s}
		d.socket = s.Path(d.Name + ".sock")
		// lvsd host prepare sets these, and looks for a routing daemon at its usual path.
		d.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
		d.SetSysctl("net.ipv4.vs.sloppy_tcp", "1")
		d.SetSysctl("net.ipv4.vs.schedule_icmp", "1")
		s.lb = append(s.lb, d)
	}
	s.write()
	return s
}

// hashByL4 makes the router spread by addresses and ports, as other routers do. By policy 1
// this kernel takes a hash that packets carry here from the client's socket, through the
// veth, and that another one replaces when the client repeats a packet: connections would
// move. Policy 3 looks at the packets: 1 and 2 are the addresses, 4 the protocol, 16 and 32
// the ports.
func (s *site) hashByL4() {
	for _, family := range []string{"ipv4", "ipv6"} {
		s.router.SetSysctl("net."+family+".fib_multipath_hash_policy", "3")
		s.router.SetSysctl("net."+family+".fib_multipath_hash_fields", "55")
	}
}

// vips returns the addresses that are served.
func (s *site) vips() []string {
	if s.setting.six {
		return []string{vip, vip6}
	}
	return []string{vip}
}

// host builds a host on the inner LAN, whose last number is n in both families.
func (s *site) host(name string, i, n int) *lab.Host {
	h := s.Host(fmt.Sprint(name, i), s.inside, fmt.Sprintf("10.0.0.%d/24", n))
	h.DefaultRoute("10.0.0.1")
	if s.setting.six {
		h.AddAddress("eth0", fmt.Sprintf("2001:db8:10::%d/64", n))
		h.DefaultRoute("2001:db8:10::1")
	}
	return h
}

// realServer builds a real server.
func (s *site) realServer(i int) *lab.Server {
	r := s.host("rs", i, 20+i)
	if s.setting.tun {
		for _, v := range s.vips() {
			r.MustRun(lvsdtest.Binary(s.t), "realserver", "up", "--vip", v, "--forward", "tun", "--state-dir", s.Path(r.Name+".state"))
		}
	} else {
		r.PrepareDR(s.vips()...)
	}
	return lab.ServeLines(r, ":80", r.Name)
}

// write writes the guide's configuration, with files of its own for each director.
func (s *site) write() {
	text, how := s.guide["toml"], s.setting
	replace := func(old, new string) { s.t.Helper(); text = lvsdtest.Replace(s.t, text, old, new) }
	for i := 2; i < how.servers; i++ {
		replace("real_servers = [\n", fmt.Sprintf("real_servers = [\n  { address = \"10.0.0.%d:80\" },\n", 21+i))
	}
	if how.tun {
		replace(`forward = "dr"`, `forward = "tun"`)
	}
	if how.six {
		web := text[strings.Index(text, "[[virtual_service]]"):]
		six := map[string]string{`"web"`: `"web6"`, vip + ":80": "[" + vip6 + "]:80"}
		for i := range max(how.servers, 2) {
			six[fmt.Sprintf("10.0.0.%d:", 21+i)] = fmt.Sprintf("[2001:db8:10::%d]:", 21+i)
		}
		for old, new := range six {
			web = lvsdtest.Replace(s.t, web, old, new)
		}
		replace(strconv.Quote(vip)+"]", strconv.Quote(vip)+", "+strconv.Quote(vip6)+"]\nservices = \"all\"")
		text += web
	}
	key := s.WriteFile("pair.key", lvsdtest.AuthKey)
	if err := os.Chmod(key, 0o600); err != nil {
		s.t.Fatal(err)
	}
	replace(`"/etc/lvsd/pair.key"`, strconv.Quote(key))
	each := func(suffix string) string {
		var parts []string
		for _, name := range []string{"lb1", "lb2", "lb3"} {
			parts = append(parts, fmt.Sprintf("%s = %q", name, s.Path(name+suffix)))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	if how.edit != nil {
		text = how.edit(text)
	}
	if how.watched {
		var parts []string
		for _, d := range s.lb {
			parts = append(parts, fmt.Sprintf("%s = %q", d.Name, how.speaker.socket(s, d.Host)))
		}
		replace("[[announce]]\n", "[[announce]]\nrouting_daemon = { "+strings.Join(parts, ", ")+" }\n")
	}
	text += "\n[global]\ncontrol_socket = " + each(".sock") + "\nstate_dir = " + each(".state") + "\n"
	for _, d := range s.lb {
		d.config = s.WriteFile(d.Name+".toml", text)
	}
}

// start starts lvsd on a director.
func (d *director) start() {
	d.site.t.Helper()
	d.lvsd = d.Start(lvsdtest.Binary(d.site.t), "run", "-c", d.config, "--director", d.Name)
	d.site.t.Cleanup(d.lvsd.Kill) // without withdraw_wait
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
		Directors     []string `json:"directors"`
		RoutingDaemon *bool    `json:"routing_daemon"`
	} `json:"announces"`
	Services []struct {
		RealServers []struct {
			Address  string `json:"address"`
			Weight   *int   `json:"weight"`
			Health   string `json:"verdict"`
			ProbedBy string `json:"probed_by"`
			Active   int    `json:"active_connections"`
		} `json:"real_servers"`
	} `json:"virtual_services"`
	Peers []struct {
		Director      string `json:"director"`
		Up            bool   `json:"up"`
		ConfigMatches bool   `json:"config_matches"`
	} `json:"peers"`
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

// hops counts the directors that the router uses: for each address.
func (s *site) hops() (counts []int) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, v := range s.vips() {
		family, gateway := "-4", "via 10.0.0."
		if v == vip6 {
			family, gateway = "-6", "via 2001:db8:10::"
		}
		out, err := s.router.Run(ctx, "ip", family, "route", "show", v)
		if err != nil {
			s.t.Fatalf("routes of the router: %v\n%s", err, out)
		}
		counts = append(counts, strings.Count(out, gateway))
	}
	return counts
}

// waitHops waits until the router uses so many directors, and returns how long that took.
func (s *site) waitHops(n int) time.Duration {
	s.t.Helper()
	return s.WaitUntil(patience, fmt.Sprintf("%d directors at the router", n), func() bool {
		return !slices.ContainsFunc(s.hops(), func(have int) bool { return have != n })
	})
}

// speaker is a routing daemon. It is started as the router's or a director's, which has
// this last number in its addresses.
type speaker struct {
	name    string // of the guide's blocks
	require func(t *testing.T)
	start   func(s *site, h *lab.Host, role, number string) *lab.Process
	socket  func(s *site, h *lab.Host) string // what routing_daemon names
	meds    func(s *site) []string            // of the router's paths to the VIP
}

var (
	bird = speaker{"bird", requireBIRD, startBIRD, birdSocket, birdMEDs}
	frr  = speaker{"frr", requireFRR, startFRR, bgpdSocket, frrMEDs}
)

// waitMEDs waits until the router has a path of each director, with these metrics.
func (s *site) waitMEDs(want ...string) {
	s.t.Helper()
	var have []string
	defer func() {
		if s.t.Failed() {
			s.t.Logf("metrics at the router: %q", have)
		}
	}()
	s.WaitUntil(patience, fmt.Sprintf("metrics %q at the router", want), func() bool {
		have = s.setting.speaker.meds(s)
		slices.Sort(have)
		return slices.Equal(have, want)
	})
}

// daemonConfig is a daemon's configuration in the guide.
func (s *site) daemonConfig(role, number string) string {
	s.t.Helper()
	text := s.guide[s.setting.speaker.name+" "+role]
	if s.setting.six {
		text += s.guide[s.setting.speaker.name+" "+role+" ipv6"]
	}
	if text == "" {
		s.t.Fatalf("%s has no configuration of %s for a %s", page, s.setting.speaker.name, role)
	}
	if number != "" {
		text = strings.NewReplacer("10.0.0.12", "10.0.0."+number, "2001:db8:10::12", "2001:db8:10::"+number).Replace(text)
	}
	return text
}

func requireBIRD(t *testing.T) {
	_, err := exec.LookPath("bird")
	lab.Require(t, err) // make deps installs bird2
}

func startBIRD(s *site, h *lab.Host, role, number string) *lab.Process {
	s.t.Helper()
	file := s.WriteFile(h.Name+".bird.conf", s.daemonConfig(role, number))
	return h.Start("bird", "-f", "-c", file, "-s", birdSocket(s, h), "-P", s.Path(h.Name+".bird.pid"))
}

func birdSocket(s *site, h *lab.Host) string { return s.Path(h.Name + ".bird.ctl") }

func birdMEDs(s *site) (all []string) {
	s.t.Helper()
	for line := range strings.Lines(s.router.MustRun("birdc", "-s", birdSocket(s, s.router), "show route all for "+vip)) {
		if _, med, found := strings.Cut(line, "BGP.med: "); found {
			all = append(all, strings.TrimSpace(med))
		}
	}
	return all
}

const frrPrograms = "/usr/lib/frr/"

func requireFRR(t *testing.T) {
	for _, p := range []string{"zebra", "bfdd", "bgpd"} {
		_, err := os.Stat(frrPrograms + p)
		lab.Require(t, err) // make deps installs frr
	}
}

// vtyDir is the folder of FRR's sockets on a host. Their user must own them, which no socket in
// a folder of this machine has in User-Mode Linux; /run is the kernel's own.
func (s *site) vtyDir(h *lab.Host) string {
	s.t.Helper()
	if dir, made := s.vty[h.Name]; made {
		return dir
	}
	owner, err := user.Lookup("frr")
	if err != nil {
		s.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/run", "frr-")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(dir, uid, -1); err != nil {
		s.t.Fatal(err)
	}
	s.vty[h.Name] = dir
	return dir
}

func bgpdSocket(s *site, h *lab.Host) string { return filepath.Join(s.vtyDir(h), "bgpd.vty") }

func frrMEDs(s *site) (all []string) {
	s.t.Helper()
	var route struct {
		Paths []struct{ Metric int }
	}
	out := s.router.MustRun("vtysh", "--vty_socket", s.vtyDir(s.router), "-c", "show bgp ipv4 unicast "+vip+"/32 json")
	if err := json.Unmarshal([]byte(out), &route); err != nil {
		s.t.Fatalf("%v:\n%s", err, out)
	}
	for _, p := range route.Paths {
		all = append(all, strconv.Itoa(p.Metric))
	}
	return all
}

// startFRR starts those of zebra, bfdd and bgpd that do not run, each with its part of the
// configuration.
func startFRR(s *site, h *lab.Host, role, number string) (bgpd *lab.Process) {
	s.t.Helper()
	text, dir := s.daemonConfig(role, number), s.vtyDir(h)
	config := map[string]string{"zebra": "", "bfdd": "", "bgpd": ""}
	for part := range strings.SplitSeq(text, "!\n") {
		switch {
		case strings.HasPrefix(part, "router bgp"), strings.HasPrefix(part, "ip prefix-list"):
			config["bgpd"] += part
		case strings.HasPrefix(part, "bfd"):
			config["bfdd"] += part
		default:
			config["zebra"] += part
		}
	}
	for name, part := range config {
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(part), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, name := range []string{"zebra", "bfdd", "bgpd"} {
		accepts := func() bool {
			c, err := net.Dial("unix", filepath.Join(dir, name+".vty"))
			if err == nil {
				c.Close()
			}
			return err == nil
		}
		if accepts() {
			continue
		}
		bgpd = h.Start(frrPrograms+name, "-u", "frr", "-g", "frr", "-z", filepath.Join(dir, "zserv"), "--vty_socket", dir,
			"-i", filepath.Join(dir, name+".pid"), "-f", filepath.Join(dir, name+".conf"), "--log", "stdout")
		s.t.Cleanup(bgpd.Kill) // they take long to end
		s.WaitUntil(patience, name+" on "+h.Name, accepts)
	}
	return bgpd
}

// waitBFD waits until the BFD sessions of FRR's router with all directors are up: without them
// a dead director is noticed at the end of the hold time only.
func (s *site) waitBFD() {
	s.t.Helper()
	s.WaitUntil(patience, "BFD with all directors", func() bool {
		out := s.router.MustRun("vtysh", "--vty_socket", s.vtyDir(s.router), "-c", "show bfd peers")
		return strings.Count(out, "Status: up") == len(s.lb)
	})
}
