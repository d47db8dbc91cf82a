package host

// What announcements need of this host: a routing daemon that reads the table, and a
// kernel that other directors' connections and ARP requests do not confuse.

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/announce"
	"lvsd/config"
)

// announcing finds what announcements need.
func announcing(c *config.Config) []Finding {
	if len(c.Announces) == 0 {
		return nil
	}
	var all []Finding
	if slices.ContainsFunc(c.Announces, announcesIPv4) {
		all = append(all, compare("net.ipv4.conf.all.arp_ignore", "1", func(have, _ string) bool { return have == "1" || have == "2" },
			"with [[announce]] this host accepts packets to addresses that no interface has, and would reply to ARP requests for them"))
	}
	if hashes(c) {
		all = append(all, compare("net.ipv4.vs.sloppy_tcp", "1", equal,
			"required for connections that routers move here from another director: this kernel sees them from the middle only"),
			compare("net.ipv4.vs.schedule_icmp", "1", equal,
				"routers send ICMP errors such as \"fragmentation needed\" to any director, also to one without the connection"))
	}
	six := map[int]bool{} // tables, and whether they have routes of IPv6
	for _, a := range c.Announces {
		six[a.Table] = six[a.Table] || slices.ContainsFunc(a.Addresses, netip.Addr.Is6)
	}
	for _, table := range slices.Sorted(maps.Keys(six)) {
		all = append(all, routingDaemons{root: "/", dial: dialUnix}.finding(table, six[table]))
	}
	for _, a := range c.Announces {
		if a.RoutingDaemon != "" {
			all = append(all, routingDaemonAt(a, dialUnix))
		}
	}
	return all
}

func announcesIPv4(a config.Announce) bool { return slices.ContainsFunc(a.Addresses, netip.Addr.Is4) }

// hashes reports whether an announced service has a scheduler that sends a client to the
// same server from every director: only then a connection can go on without its entry.
func hashes(c *config.Config) bool {
	for _, a := range c.Announces {
		for _, s := range c.Services {
			if (s.Scheduler == "mh" || s.Scheduler == "sh") && (s.FWMark != 0 || slices.Contains(a.Addresses, s.Address.Addr())) {
				return true
			}
		}
	}
	return false
}

// routingDaemons looks for BIRD and FRR, whose files are below root.
type routingDaemons struct {
	root string
	dial func(path string, greets bool) (greeting string, err error)
}

// dialTimeout bounds a conversation with a routing daemon.
const dialTimeout = time.Second

// dialUnix connects to a control socket and returns the first line of one that greets.
func dialUnix(path string, greets bool) (string, error) {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if !greets {
		return "", nil
	}
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), nil
}

// daemon is what is known of a routing daemon.
type daemon struct {
	name    string
	sockets []string // control sockets, below root
	configs []string // patterns of its configuration files, below root
	// reads and reads6 are regular expressions of what reads a table, with %d for its number;
	// reads6 is for IPv6 where that differs. snippet and snippet6 are what they find.
	reads, reads6     string
	snippet, snippet6 string
	greets            bool // the first line on its socket names its version
}

var daemons = []daemon{
	{name: "BIRD", sockets: announce.BIRDSockets, greets: true,
		configs: []string{"etc/bird/*.conf", "etc/bird/*/*.conf", "etc/bird.conf"},
		reads:   `(?m)^[^#\n]*\bkernel\s+table\s+%d\b`, snippet: "protocol kernel { ipv4 { import all; export none; }; kernel table %d; learn; }"},
	{name: "FRR", sockets: announce.FRRSockets,
		configs: []string{"etc/frr/*.conf"},
		reads:   `(?m)^\s*(ip import-table %[1]d|redistribute table(-direct)? %[1]d)\b`, snippet: "ip import-table %d",
		// ip import-table is for IPv4 and for tables up to 252.
		reads6: `(?m)^\s*redistribute table-direct %d\b`, snippet6: "redistribute table-direct %d (FRR 9.1 or newer)"},
}

// importLimit is the last table that FRR's ip import-table takes.
const importLimit = 252

// finding reports whether a routing daemon runs and reads a table, six: also its routes of
// IPv6.
func (r routingDaemons) finding(table int, six bool) Finding {
	f := Finding{Kind: "routing", Name: "routing daemon", Want: fmt.Sprintf("BIRD or FRR reading table %d", table),
		Why: "lvsd adds the routes but does not speak BGP: a routing daemon must announce them to clients", manual: true}
	var running []string
	for _, d := range daemons {
		version, runs := r.running(d)
		if !runs {
			continue
		}
		running = append(running, version)
		if (six || table > importLimit) && d.reads6 != "" {
			d.reads, d.snippet = d.reads6, d.snippet6
		}
		file, unreadable := r.reading(d, table)
		switch {
		case file != "":
			f.Have, f.OK = fmt.Sprintf("%s, reads table %d (%s)", version, table, file), true
			return f
		case unreadable:
			f.Have, f.OK = version+", whose configuration cannot be read by this user", true
			return f
		}
		f.Remedy = "in its configuration: " + fmt.Sprintf(d.snippet, table)
	}
	if f.Have = strings.Join(running, ", "); f.Have == "" {
		f.Have, f.Remedy = "not running", "see docs/guides/anycast.md"
	}
	return f
}

// routingDaemonAt reports whether a routing daemon accepts connections where the
// configuration says.
func routingDaemonAt(a config.Announce, dial func(string, bool) (string, error)) Finding {
	f := Finding{Kind: "routing", Name: "routing daemon of " + a.Name, Want: "connections on " + a.RoutingDaemon, Have: "connections", OK: true, manual: true,
		Why: "while it accepts none, other directors consider this one as not serving (announce.routing_daemon)"}
	if _, err := dial(a.RoutingDaemon, false); err != nil && !errors.Is(err, fs.ErrPermission) {
		f.OK, f.Have, f.Remedy = false, err.Error(), "start it, or correct the path"
	}
	return f
}

// running reports whether a daemon accepts connections on its control socket, or at least
// has one that this user may not use.
func (r routingDaemons) running(d daemon) (version string, runs bool) {
	for _, s := range d.sockets {
		greeting, err := r.dial(filepath.Join(r.root, s), d.greets)
		switch {
		case err == nil && d.greets:
			// "0001 BIRD 2.0.12 ready."
			words := strings.Fields(greeting)
			if len(words) >= 3 {
				return words[1] + " " + words[2], true
			}
			return d.name, true
		case err == nil, errors.Is(err, fs.ErrPermission):
			return d.name, true
		}
	}
	return "", false
}

// reading returns the configuration file that makes a daemon read a table, or whether one
// could not be read.
func (r routingDaemons) reading(d daemon, table int) (file string, unreadable bool) {
	pattern := regexp.MustCompile(fmt.Sprintf(d.reads, table))
	for _, glob := range d.configs {
		names, _ := filepath.Glob(filepath.Join(r.root, glob))
		for _, name := range names {
			text, err := os.ReadFile(name)
			switch {
			case err == nil && pattern.Match(text):
				return name, false
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				unreadable = true
			}
		}
	}
	if _, err := os.ReadDir(filepath.Dir(filepath.Join(r.root, d.configs[0]))); errors.Is(err, fs.ErrPermission) {
		unreadable = true
	}
	return "", unreadable
}
