package lvsdtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// The addresses of every pair.
const (
	VIP      = "10.77.0.100"
	VIPPort  = VIP + ":80"
	VIP6     = "fd00:77::100"
	HTTPPort = "8112"
)

// QuickCheck is a check that notices a refusing server within 300 ms. Its timeout is
// long, so that a busy machine that stalls for a moment fails no check.
const QuickCheck = `{ type = "connect", interval = "100ms", timeout = "2s", rise = 1, fall = 3 }`

// AuthKey is the content of a key file: of VRRP authentication, of [peers].
const AuthKey = "1 0123456789abcdef0123456789abcdef\n"

// Pair is two directors, a client and real servers on one LAN. A test changes
// the configuration's parts before it starts a director.
type Pair struct {
	*lab.Lab
	T      testing.TB
	Net    *lab.LAN
	Client *lab.Host
	LB     [2]*Director
	Real   []*lab.Host

	AdvertInterval string // advert_interval
	VRRPKeys       string // more lines of [[vrrp]]
	Services       string // the [[virtual_service]] tables
	ConfigFile     string // its path; empty until it is written
}

// NewPair builds the hosts; nothing runs on them yet.
func NewPair(t testing.TB, realServers int) *Pair {
	t.Helper()
	lab.RequireKernel(t)
	p := &Pair{Lab: lab.New(t), T: t, AdvertInterval: "300ms"}
	p.Net = p.LAN("lan", "10.77.0.0/24")
	p.Client = p.Host("client", p.Net, "10.77.0.2/24")
	for i, name := range []string{"lb1", "lb2"} {
		p.LB[i] = p.director(name, fmt.Sprintf("10.77.0.%d/24", 11+i))
		p.LB[i].PrepareDirector()
	}
	for i := range realServers {
		p.AddRealServer(p.Net, fmt.Sprintf("10.77.0.%d/24", 21+i))
	}
	return p
}

// NewWebPair returns a running pair with line servers behind it, lb1 master. change,
// unless nil, is called before the directors start.
func NewWebPair(t *testing.T, servers int, change func(*Pair)) (*Pair, []*lab.Server) {
	t.Helper()
	p := NewPair(t, servers)
	lines := p.ServeLines()
	p.Services = p.WebService(QuickCheck, slices.Repeat([]int{1}, servers)...)
	if change != nil {
		change(p)
	}
	p.StartBoth()
	for _, d := range p.LB {
		d.WaitServing(servers)
	}
	return p, lines
}

// director adds the host of a director.
func (p *Pair) director(name, addr string) *Director {
	d := &Director{Host: p.Host(name, p.Net, addr), Pair: p}
	d.Socket = p.Path(name + ".sock")
	d.HTTP.Timeout = 30 * time.Second
	d.HTTP.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
	}}
	return d
}

// AddRealServer adds the host of a real server: rs1, rs2 …
func (p *Pair) AddRealServer(lan *lab.LAN, addr string) *lab.Host {
	r := p.Host(fmt.Sprint("rs", len(p.Real)+1), lan, addr)
	p.Real = append(p.Real, r)
	return r
}

// PrepareDR makes every real server ready for direct routing.
func (p *Pair) PrepareDR() {
	for _, r := range p.Real {
		r.PrepareDR(VIP)
	}
}

// ServeLines prepares every real server for direct routing and starts a server on port
// 80 that sends its name (lab.ServeLines).
func (p *Pair) ServeLines() []*lab.Server {
	p.PrepareDR()
	var servers []*lab.Server
	for _, r := range p.Real {
		servers = append(servers, lab.ServeLines(r, ":80", r.Name))
	}
	return servers
}

// Config returns the whole configuration, the same for both directors.
func (p *Pair) Config() string {
	return fmt.Sprintf(`
[[director]]
name = "lb1"
address = "10.77.0.11"
[[director]]
name = "lb2"
address = "10.77.0.12"

[global]
control_socket = { lb1 = %q, lb2 = %q }
state_dir = { lb1 = %q, lb2 = %q }

[ipvs]
resync_interval = "1s"

[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
advert_interval = %q
addresses = [%q]
%s
%s
`, p.LB[0].Socket, p.LB[1].Socket, p.Path("lb1.state"), p.Path("lb2.state"), p.AdvertInterval, VIP, p.VRRPKeys, p.Services)
}

// WebService returns a [[virtual_service]] with a real server for each weight, by
// direct routing.
func (p *Pair) WebService(check string, weights ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = \"web\"\naddress = %q\nscheduler = \"rr\"\ncheck = %s\nreal_servers = [\n", VIPPort, check)
	for i, w := range weights {
		fmt.Fprintf(&b, "  { address = \"%s:80\", weight = %d },\n", p.Real[i].Addr(), w)
	}
	b.WriteString("]\n")
	return b.String()
}

// ServiceConfig returns a [[virtual_service]] with every real server of the pair on
// a port, and the lines of settings.
func (p *Pair) ServiceConfig(name, address, settings string, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = %q\naddress = %q\n%s\nreal_servers = [\n", name, address, settings)
	for _, r := range p.Real {
		fmt.Fprintf(&b, "  { address = \"%s:%d\", weight = 1 },\n", r.Addr(), port)
	}
	b.WriteString("]\n")
	return b.String()
}

// PeerConfig writes a key file for each director and returns a [peers] table with them.
func (p *Pair) PeerConfig() string {
	p.T.Helper()
	return fmt.Sprintf("[peers]\nlisten = \":8113\"\nkey_file = { lb1 = %q, lb2 = %q }\n",
		p.WritePrivate("lb1.key", AuthKey), p.WritePrivate("lb2.key", AuthKey))
}

// WriteConfig writes Config to the configuration file.
func (p *Pair) WriteConfig() { p.WriteConfigText(p.Config()) }

// WriteConfigText writes the configuration file.
func (p *Pair) WriteConfigText(text string) {
	p.T.Helper()
	p.ConfigFile = p.WriteFile("lvsd.toml", text)
}

// ConfigText returns the content of the configuration file, which is Config until it
// was written.
func (p *Pair) ConfigText() string {
	p.T.Helper()
	if p.ConfigFile == "" {
		return p.Config()
	}
	text, err := os.ReadFile(p.ConfigFile)
	if err != nil {
		p.T.Fatal(err)
	}
	return string(text)
}

// EditConfig replaces the first occurrence of old in the configuration file, which
// must be there.
func (p *Pair) EditConfig(old, new string) {
	p.T.Helper()
	p.WriteConfigText(Replace(p.T, p.ConfigText(), old, new))
}

// EnableSync adds connection synchronisation to the configuration file.
func (p *Pair) EnableSync() {
	p.T.Helper()
	p.EditConfig("[ipvs]", "[ipvs]\nsync = { interface = \"eth0\", id = 51 }")
}

// WritePrivate writes a file with mode 0600 and returns its path.
func (p *Pair) WritePrivate(name, text string) string {
	p.T.Helper()
	path := p.WriteFile(name, text)
	if err := os.Chmod(path, 0o600); err != nil {
		p.T.Fatal(err)
	}
	return path
}

// Holders returns the names of the directors that have the VIP.
func (p *Pair) Holders() []string { return p.HoldersOf(VIP) }

// HoldersOf returns the names of the directors that have an address.
func (p *Pair) HoldersOf(address string) []string {
	var names []string
	for _, d := range p.LB {
		if d.Holds(address) {
			names = append(names, d.Name)
		}
	}
	return names
}

// StartBoth starts both directors and waits until lb1 is master and lb2 backup.
func (p *Pair) StartBoth() {
	p.T.Helper()
	for _, d := range p.LB {
		d.StartDaemon()
	}
	p.LB[0].WaitState("master", 30*time.Second)
	p.LB[1].WaitState("backup", 30*time.Second)
}
