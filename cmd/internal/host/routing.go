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
	protocols := hashed(c)
	for _, protocol := range []string{"tcp", "sctp"} { // udp has no first packet
		if protocols[protocol] {
			all = append(all, compare("net.ipv4.vs.sloppy_"+protocol, "1", equal,
				"required for connections that routers move here from another director: this kernel sees them from the middle only"))
		}
	}
	if len(protocols) > 0 {
		all = append(all, compare("net.ipv4.vs.schedule_icmp", "1", equal,
			"routers send ICMP errors such as \"fragmentation needed\" to any director, also to one without the connection"))
	}
	six, sockets := map[int]bool{}, map[int][]string{} // by table: whether it has routes of IPv6, and whose sockets are configured
	for _, a := range c.Announces {
		six[a.Table] = six[a.Table] || slices.ContainsFunc(a.Addresses, netip.Addr.Is6)
		if a.RoutingDaemon != "" {
			sockets[a.Table] = append(sockets[a.Table], a.RoutingDaemon)
		}
	}
	for _, table := range slices.Sorted(maps.Keys(six)) {
		all = append(all, routingDaemons{root: "/", dial: dialUnix}.finding(table, six[table], sockets[table]))
	}
	for _, a := range c.Announces {
		if a.RoutingDaemon != "" {
			all = append(all, routingDaemonAt(a, dialUnix))
		}
	}
	return all
}

func announcesIPv4(a config.Announce) bool { return slices.ContainsFunc(a.Addresses, netip.Addr.Is4) }

// hashed returns the protocols of the announced services that have a scheduler which sends a
// client to the same server from every director: only then a connection can go on without its
// entry. Packets with a firewall mark may be TCP.
func hashed(c *config.Config) map[string]bool {
	all := map[string]bool{}
	for _, a := range c.Announces {
		for _, s := range c.Services {
			switch {
			case s.Scheduler != "mh" && s.Scheduler != "sh":
			case s.FWMark != 0:
				all["tcp"] = true
			case slices.Contains(a.Addresses, s.Address.Addr()):
				all[s.Protocol] = true
			}
		}
	}
	return all
}

// routingDaemons looks for BIRD and FRR, whose files are below root.
type routingDaemons struct {
	root string
	dial func(path string, greets bool) (greeting string, err error)
}

// dialTimeout bounds a conversation with a routing daemon.
const dialTimeout = time.Second

// dialUnix connects to a control socket and returns the first line of one that greets. It
// fails with ErrPermission only where a process listens.
func dialUnix(path string, greets bool) (string, error) {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if errors.Is(err, fs.ErrPermission) {
		if listens, known := announce.Listens(path); known && !listens {
			return "", fmt.Errorf("%s: no process listens on it", path)
		}
	}
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
	mention string   // a regular expression of what names a table, with %d for its number
	greets  bool     // the first line on its socket names its version
	// missing returns what its configuration lacks to announce a table's routes, six: also
	// those of IPv6; "": nothing.
	missing func(config string, table int, six bool) string
}

var daemons = []daemon{
	{name: "BIRD", sockets: announce.BIRDSockets, greets: true, missing: birdMissing, mention: birdTable,
		configs: []string{"etc/bird/*.conf", "etc/bird/*/*.conf", "etc/bird.conf"}},
	{name: "FRR", sockets: announce.FRRSockets, missing: frrMissing, mention: `(?m)^\s*(ip import-table|redistribute table(-direct)?) %d\b`,
		configs: []string{"etc/frr/*.conf"}},
}

const birdTable = `(?m)^[^#\n]*\bkernel\s+table\s+%d\b`

var (
	birdComment = regexp.MustCompile(`#[^\n]*`)
	birdBlock   = regexp.MustCompile(`\b(protocol|template)\s`)
	birdLearns  = regexp.MustCompile(`\blearn(\s+(on|yes|all))?\s*;|\sfrom\s`) // also by a template
)

// birdMissing wants a protocol kernel that reads the table and learns the routes of other
// processes, for IPv6 one with that channel.
func birdMissing(text string, table int, six bool) string {
	text = birdComment.ReplaceAllString(text, "")
	reads := regexp.MustCompile(fmt.Sprintf(birdTable, table))
	known, known6 := false, false
	begins := birdBlock.FindAllStringIndex(text, -1)
	for i, b := range begins {
		end := len(text)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		block := text[b[0]:end]
		switch {
		case !reads.MatchString(block):
		case !birdLearns.MatchString(block):
			return fmt.Sprintf("learn; in the protocol kernel of table %d: without it BIRD ignores routes of other processes", table)
		default:
			known, known6 = true, known6 || strings.Contains(block, "ipv6")
		}
	}
	family := "ipv4"
	if six && known {
		family = "ipv6"
	}
	if !known || six && !known6 {
		return fmt.Sprintf("protocol kernel { %s { import all; export none; }; kernel table %d; learn; }", family, table)
	}
	return ""
}

// frrImportLimit is the last table that FRR's ip import-table takes.
const frrImportLimit = 252

// frrMissing wants redistribute table-direct or, for IPv4, ip import-table and redistribute
// table.
func frrMissing(text string, table int, six bool) string {
	has := func(line string) bool {
		return regexp.MustCompile(fmt.Sprintf(`(?m)^\s*%s %d\b`, line, table)).MatchString(text)
	}
	switch {
	case has("redistribute table-direct"):
		return ""
	case six || table > frrImportLimit:
		return fmt.Sprintf("redistribute table-direct %d (FRR 9.1 or newer)", table)
	case !has("ip import-table"):
		return fmt.Sprintf("ip import-table %d", table)
	case !has("redistribute table"):
		return fmt.Sprintf("redistribute table %d, in router bgp", table)
	}
	return ""
}

// finding reports whether a routing daemon runs and announces a table's routes, six: also
// those of IPv6. own are the control sockets that the configuration names.
func (r routingDaemons) finding(table int, six bool, own []string) Finding {
	f := Finding{Kind: "routing", Name: "routing daemon", Want: fmt.Sprintf("BIRD or FRR reading table %d", table),
		Why: "lvsd adds the routes but does not speak BGP: a routing daemon must announce them to clients", manual: true}
	for _, s := range own {
		if slices.Contains(announce.BIRDSockets, s) || slices.Contains(announce.FRRSockets, s) {
			continue
		}
		if _, err := r.dial(filepath.Join(r.root, s), false); err == nil || errors.Is(err, fs.ErrPermission) {
			f.Have, f.OK = fmt.Sprintf("running at %s, with a configuration that is not looked for", s), true
			return f
		}
	}
	var running []string
	for _, d := range daemons {
		version, runs := r.running(d)
		if !runs {
			continue
		}
		running = append(running, version)
		text, file, unreadable := r.config(d, table)
		missing := d.missing(text, table, six)
		switch {
		case missing == "":
			f.Have, f.OK = fmt.Sprintf("%s, reads table %d (%s)", version, table, file), true
			return f
		case unreadable:
			f.Have, f.OK = version+", whose configuration cannot be read by this user", true
			return f
		}
		f.Remedy = "in its configuration: " + missing
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
	for _, socket := range announce.Required(a.RoutingDaemon) {
		if _, err := dial(socket, false); err != nil && !errors.Is(err, fs.ErrPermission) {
			f.OK, f.Have, f.Remedy = false, err.Error(), "start it, or correct the path"
			break
		}
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

// config returns a daemon's configuration, of all its files, and the first that names a table;
// unreadable: there is more that could not be read.
func (r routingDaemons) config(d daemon, table int) (text, file string, unreadable bool) {
	mention := regexp.MustCompile(fmt.Sprintf(d.mention, table))
	for _, glob := range d.configs {
		names, _ := filepath.Glob(filepath.Join(r.root, glob))
		for _, name := range names {
			part, err := os.ReadFile(name)
			if err != nil {
				unreadable = unreadable || !errors.Is(err, fs.ErrNotExist)
				continue
			}
			if text += string(part) + "\n"; file == "" && mention.Match(part) {
				file = name
			}
		}
	}
	if _, err := os.ReadDir(filepath.Dir(filepath.Join(r.root, d.configs[0]))); errors.Is(err, fs.ErrPermission) {
		unreadable = true
	}
	return text, file, unreadable
}
