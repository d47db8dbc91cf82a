// The conversion of a saved table.

package ipvsadm

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
	"lvsd/ipvs/ipvsadm"
)

// Convert converts a saved table.
func Convert(file string, w convert.Env) (convert.Result, error) {
	text, err := w.Read(file)
	if err != nil {
		return convert.Result{}, err
	}
	t := &saved{notes: &convert.Notes{}, world: w, root: &convert.Table{}, byKey: map[string]*convert.Table{}, names: convert.Namer{}, asked: map[*convert.Table]int{}}
	number := 0
	for l := range strings.Lines(string(text)) {
		number++
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			t.line(l, convert.Origin{File: file, Line: number, Text: convert.Abbreviate(l)})
		}
	}
	services := slices.DeleteFunc(t.root.Tables("virtual_service"), func(s *convert.Table) bool {
		lost := t.asked[s] > 0 && !s.Has("real_servers")
		if lost {
			t.notes.Add(convert.Lost, s.From, convert.NoServers)
		}
		return lost
	})
	t.root.Set("virtual_service", services, convert.Origin{})
	for _, s := range services {
		t.finish(s)
	}
	if len(t.root.Tables("virtual_service")) > 0 {
		t.notes.Hint(`a table has no checks: check = { type = "on" } treats every server as up. Add checks, such as { type = "http", path = "/healthz" }.`)
		t.notes.Hint("a table has no VRRP: add a [[director]] for each director and a [[vrrp]] with the services' addresses.")
	}
	return convert.Finish("ipvsadm", []string{file}, t.root, t.notes)
}

// saved is a table being read.
type saved struct {
	notes *convert.Notes
	world convert.Env
	root  *convert.Table
	byKey map[string]*convert.Table
	names convert.Namer
	asked map[*convert.Table]int // lines -a of a service
}

// line reads one command.
func (t *saved) line(l string, from convert.Origin) {
	c := ipvsadm.Parse(convert.SplitWords(l))
	for _, name := range c.Unknown {
		t.notes.Add(convert.LeftOut, from, name+" is an unknown option")
	}
	o, rest, has := c.Options, c.Args, c.Has
	switch {
	case has("-A") || has("-E"):
		t.service(o, from)
	case has("-a") || has("-e"):
		t.server(o, from)
	case has("--set"):
		t.timeouts(rest, from)
	case has("--start-daemon"):
		t.daemon(o, from)
	case has("-C") || has("-Z"):
		t.notes.Add(convert.NotNeeded, from, "lvsd compares the kernel's table with the file, and changes what differs")
	default:
		t.notes.Add(convert.LeftOut, from, "adds nothing to a table")
	}
}

// key reads the service of a line: its protocol, and its address or mark. The kind is of
// the note if that fails.
func (t *saved) key(o map[string]string, from convert.Origin, kind convert.Kind) (protocol string, ap netip.AddrPort, mark int, ok bool) {
	if m, is := o["-f"]; is {
		mark, ok := convert.ParseInt(m, 1, 1<<32-1)
		if !ok {
			t.notes.Add(kind, from, fmt.Sprintf("%q is not a firewall mark", m))
		}
		return "", ap, mark, ok
	}
	for _, p := range []struct{ option, name string }{{"-t", "tcp"}, {"-u", "udp"}, {"--sctp-service", "sctp"}} {
		if s, is := o[p.option]; is {
			ap, ok := t.endpoint(s, p.name, from, kind)
			return p.name, ap, 0, ok
		}
	}
	t.notes.Add(kind, from, "names no service")
	return "", ap, 0, false
}

// endpoint reads IP:PORT, [IP]:PORT, or names in place of them.
func (t *saved) endpoint(s, protocol string, from convert.Origin, kind convert.Kind) (netip.AddrPort, bool) {
	ap, err := convert.Lookup(s, protocol, t.world)
	if err != nil {
		t.notes.Add(kind, from, err.Error())
		return ap, false
	}
	return ap, true
}

// service reads -A.
func (t *saved) service(o map[string]string, from convert.Origin) {
	protocol, ap, mark, ok := t.key(o, from, convert.Lost)
	if !ok {
		return
	}
	s := &convert.Table{From: from, OneLine: true}
	if mark != 0 {
		s.Set("name", t.names.Unique("fwmark-"+strconv.Itoa(mark), "service"), from)
		s.Set("fwmark", mark, from)
		if _, v6 := o["-6"]; v6 {
			s.Set("family", "ipv6", from)
		}
	} else {
		s.Set("name", t.names.Service(protocol, ap.Addr(), int(ap.Port())), from)
		s.Set("address", ap.String(), from)
		if protocol != "tcp" {
			s.Set("protocol", protocol, from)
		}
	}
	if sched, said := o["-s"]; said && sched != "wlc" {
		s.Set("scheduler", sched, from)
	}
	t.persistence(s, o, from)
	if _, ops := o["-o"]; ops {
		s.Set("one_packet", true, from)
	}
	flags := slices.DeleteFunc(strings.Split(o["-b"], ","), func(f string) bool { return f == "" })
	sched := s.Str("scheduler")
	if (sched == "sh" || sched == "mh") && !slices.Contains(flags, sched+"-fallback") && !slices.Contains(flags, "flag-1") {
		flags = append(flags, "no-fallback")
	}
	if len(flags) > 0 {
		s.Set("scheduler_flags", flags, from)
	}
	t.byKey[t.id(o, protocol, ap, mark)] = s
	t.root.Append("virtual_service", s)
}

// persistence reads -p, -M and --pe.
func (t *saved) persistence(s *convert.Table, o map[string]string, from convert.Origin) {
	p, persistent := o["-p"]
	if !persistent {
		return
	}
	d := 6 * time.Minute // ipvsadm(8)
	if p != "" {
		d, _ = convert.ParseSeconds(p)
	}
	s.Set("persistence", d, from)
	if mask := o["-M"]; mask != "" && !convert.IsHostMask(mask) {
		s.Set("persistence_netmask", mask, from)
	}
	if pe := o["--pe"]; pe != "" {
		s.Set("persistence_engine", pe, from)
	}
}

// id identifies a service in lines of its servers.
func (t *saved) id(o map[string]string, protocol string, ap netip.AddrPort, mark int) string {
	_, v6 := o["-6"]
	return fmt.Sprint(protocol, ap, mark, v6)
}

// server reads -a.
func (t *saved) server(o map[string]string, from convert.Origin) {
	protocol, ap, mark, ok := t.key(o, from, convert.LeftOut)
	if !ok {
		return
	}
	s := t.byKey[t.id(o, protocol, ap, mark)]
	if s == nil {
		t.notes.Add(convert.LeftOut, from, "no line before it adds its service")
		return
	}
	t.asked[s]++
	network := protocol
	if network == "" {
		network = "tcp"
	}
	if r, said := o["-r"]; !said || r == "" {
		t.notes.Add(convert.LeftOut, from, "names no real server")
		return
	}
	real, ok := t.endpoint(o["-r"], network, from, convert.LeftOut)
	if !ok {
		return
	}
	rs := &convert.Table{From: from, OneLine: true}
	port := int(real.Port())
	forward := t.forward(o, from)
	switch {
	case mark != 0 || ap.Port() == 0:
		if mark != 0 && port > 0 && forward == "nat" && !s.Has("persistence") {
			t.notes.Add(convert.ToDo, from, convert.MarkPort(port))
		}
		port = -1
	case port == 0 || forward != "nat" && port != int(ap.Port()):
		if port != 0 {
			t.notes.Add(convert.NotNeeded, from, fmt.Sprintf("without masquerading a packet reaches a server with the port that the client chose, %d, whatever is written", ap.Port()))
		}
		port = int(ap.Port())
	}
	rs.Set("address", convert.FormatEndpoint(real.Addr(), port), from)
	weight := 1
	if w, said := o["-w"]; said {
		if weight, ok = convert.ParseInt(w, 0, 65535); !ok {
			t.notes.Add(convert.LeftOut, from, fmt.Sprintf("%q is not a weight from 0 to 65535: 1 is taken", w))
			weight = 1
		}
	}
	rs.Set("weight", weight, from)
	for option, key := range map[string]string{"-x": "upper_threshold", "-y": "lower_threshold"} {
		if n, ok := convert.ParseInt(o[option], 1, 1<<32-1); ok {
			rs.Set(key, n, from)
		}
	}
	rs.Set("forward", forward, from)
	s.Append("real_servers", rs)
}

// forward reads -g, -m, or -i with its tunnel.
func (t *saved) forward(o map[string]string, from convert.Origin) any {
	if _, nat := o["-m"]; nat {
		return "nat"
	}
	if _, tun := o["-i"]; !tun {
		return "dr"
	}
	kind := o["--tun-type"]
	if kind == "" || kind == "ipip" {
		return "tun"
	}
	f := &convert.Table{From: from}
	f.Set("type", kind, from)
	if p, ok := convert.ParseInt(o["--tun-port"], 1, 65535); ok {
		f.Set("port", p, from)
	}
	for _, c := range []string{"csum", "remcsum"} {
		if _, said := o["--tun-"+c]; said {
			f.Set("checksum", c, from)
		}
	}
	return f
}

// timeouts reads --set TCP TCPFIN UDP, where 0 leaves a timeout unchanged.
func (t *saved) timeouts(rest []string, from convert.Origin) {
	for i, key := range []string{"timeout_tcp", "timeout_tcp_fin", "timeout_udp"} {
		if i < len(rest) && rest[i] != "0" {
			if d, ok := convert.ParseSeconds(rest[i]); ok {
				t.root.Child("ipvs").Set(key, d, from)
			}
		}
	}
}

// daemon reads --start-daemon. lvsd runs both sender and receiver.
func (t *saved) daemon(o map[string]string, from convert.Origin) {
	sync := &convert.Table{From: from}
	sync.Set("interface", o["--mcast-interface"], from)
	for option, key := range map[string]string{"--syncid": "id", "--sync-maxlen": "maxlen", "--mcast-port": "port", "--mcast-ttl": "ttl"} {
		if n, ok := convert.ParseInt(o[option], 1, 1<<16-1); ok {
			sync.Set(key, n, from)
		}
	}
	if g := o["--mcast-group"]; g != "" {
		sync.Set("group", g, from)
	}
	if !sync.Has("id") {
		t.notes.Add(convert.LeftOut, from, "has no id from 1 to 255, which distinguishes pairs on the network")
		return
	}
	t.root.Child("ipvs").Set("sync", sync, from)
}

// finish sets the forwarding that most servers of a service have, and a check that is
// always up.
func (t *saved) finish(s *convert.Table) {
	servers := s.Tables("real_servers")
	common, most := any("dr"), 0
	for _, r := range servers[:min(len(servers), 100)] {
		count := 0
		for _, o := range servers[:min(len(servers), 100)] {
			if convert.Equal(r.Get("forward"), o.Get("forward")) {
				count++
			}
		}
		if count > most {
			common, most = r.Get("forward"), count
		}
	}
	for _, r := range servers {
		if convert.Equal(r.Get("forward"), common) {
			r.Delete("forward")
		}
	}
	if common != "dr" {
		s.Set("forward", common, s.From)
	}
	on := &convert.Table{From: s.From}
	on.Set("type", "on", s.From)
	s.Set("check", on, s.From)
}
