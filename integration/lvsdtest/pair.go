package lvsdtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// ConfigText is the configuration as the test has it now, rewrite makes it another.
func (p *Pair) ConfigText() string {
	text, err := os.ReadFile(p.ConfigFile)
	if err != nil {
		p.T.Fatal(err)
	}
	return string(text)
}

func (p *Pair) WriteConfigText(text string) {
	p.ConfigFile = p.WriteFile("lvsd.toml", text)
}

// NewWebPair is a pair with line servers behind it, running, lb1 master.
func NewWebPair(t *testing.T, servers int, change func(*Pair)) (*Pair, []*lab.Server) {
	t.Helper()
	p := NewPair(t, servers)
	p.PrepareDR()
	var lines []*lab.Server
	weights := make([]int, servers)
	for i, r := range p.Real {
		lines = append(lines, lab.ServeLines(r, ":80", r.Name))
		weights[i] = 1
	}
	p.Services = p.WebService(QuickCheck, weights...)
	if change != nil {
		change(p)
	}
	p.StartBoth()
	for _, d := range p.LB {
		d.WaitServing(servers)
	}
	return p, lines
}

// ServiceConfig is one [[virtual_service]] with a server for each of the pair's.
func (p *Pair) ServiceConfig(name, address, settings string, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = %q\naddress = %q\n%s\nreal_servers = [\n", name, address, settings)
	for _, r := range p.Real {
		fmt.Fprintf(&b, "  { address = \"%s:%d\", weight = 1 },\n", r.Addr(), port)
	}
	b.WriteString("]\n")
	return b.String()
}

const VIP6 = "fd00:77::100"

// MakePrivate makes a key file what it must be.
func (p *Pair) MakePrivate(name string) {
	if err := os.Chmod(p.Path(name), 0o600); err != nil {
		p.T.Fatal(err)
	}
}

// The addresses of every pair.
const (
	VIP      = "10.77.0.100"
	VIPPort  = VIP + ":80"
	HTTPPort = "8112"
)

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
	ConfigFile     string
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
		p.Real = append(p.Real, p.Host(fmt.Sprint("rs", i+1), p.Net, fmt.Sprintf("10.77.0.%d/24", 21+i)))
	}
	return p
}

// director makes the host of one.
func (p *Pair) director(name, addr string) *Director {
	d := &Director{Host: p.Host(name, p.Net, addr), Pair: p}
	d.Socket = p.Path(name + ".sock")
	d.HTTP.Timeout = 30 * time.Second
	d.HTTP.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
	}}
	return d
}

// Config is the whole file, the same for both directors.
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

// WriteConfig writes the file as the test has it now.
func (p *Pair) WriteConfig() { p.ConfigFile = p.WriteFile("lvsd.toml", p.Config()) }

// WebService is a service of the pair's real servers by direct routing.
func (p *Pair) WebService(check string, weights ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = \"web\"\naddress = %q\nscheduler = \"rr\"\ncheck = %s\nreal_servers = [\n", VIPPort, check)
	for i, w := range weights {
		fmt.Fprintf(&b, "  { address = \"%s:80\", weight = %d },\n", p.Real[i].Addr(), w)
	}
	b.WriteString("]\n")
	return b.String()
}

// QuickCheck is a check that notices a refusing server within 300 ms. Its timeout is
// long: a busy machine that stands still for a moment is not what is tested.
const QuickCheck = `{ type = "connect", interval = "100ms", timeout = "2s", rise = 1, fall = 3 }`

// PrepareDR makes every real server ready for direct routing.
func (p *Pair) PrepareDR() {
	for _, r := range p.Real {
		r.PrepareDR(VIP)
	}
}

// Holders names the directors that have the VIP.
func (p *Pair) Holders() []string {
	var names []string
	for _, d := range p.LB {
		if d.Holds(VIP) {
			names = append(names, d.Name)
		}
	}
	return names
}

// StartBoth starts both directors and waits for the usual order: lb1 master.
func (p *Pair) StartBoth() {
	p.T.Helper()
	for _, d := range p.LB {
		d.StartDaemon()
	}
	p.LB[0].WaitState("master", 30*time.Second)
	p.LB[1].WaitState("backup", 30*time.Second)
}
