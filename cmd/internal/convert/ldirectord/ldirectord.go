// Global settings and virtual services.

package ldirectord

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

// setting is one line of ldirectord.cf.
type setting struct {
	key, value string
	from       convert.Origin
}

// virtual is a virtual service with its lines.
type virtual struct {
	head  setting
	lines []setting
}

// Convert converts ldirectord.cf.
func Convert(file string, w convert.Env) (convert.Result, error) {
	text, err := w.Read(file)
	if err != nil {
		return convert.Result{}, err
	}
	l := &ldirectord{notes: &convert.Notes{}, world: w, root: &convert.Table{}, names: convert.Namer{}, global: map[string]setting{}}
	globals, virtuals := l.lines(file, string(text))
	for _, s := range globals {
		l.setting(s)
	}
	if mail, ok := l.root.Get("email").(*convert.Table); ok && mail.Has("to") {
		mail.Set("kinds", []string{"health"}, mail.Entry("to").From) // ldirectord mails of real servers
	}
	for _, v := range virtuals {
		l.virtual(v)
	}
	if len(virtuals) > 0 {
		l.notes.Hint("ldirectord has no VRRP: add a [[director]] for each director and a [[vrrp]] with the services' addresses, in place of heartbeat or Pacemaker.")
		l.notes.Hint(`ldirectord takes its services out of the kernel when it stops, unless cleanstop = no; lvsd leaves them for its next start. on_stop = "remove" in [ipvs] takes them out.`)
		l.notes.Hint("ldirectord adds a server at once and believes one success; lvsd sends it clients after its first good check.")
	}
	return convert.Finish("ldirectord", []string{file}, l.root, l.notes)
}

type ldirectord struct {
	notes  *convert.Notes
	world  convert.Env
	root   *convert.Table
	names  convert.Namer
	global map[string]setting // inherited by virtual services
	fork   bool               // one process a virtual service
}

// lines splits a file as ldirectord does: # begins a comment anywhere, and the lines of a
// virtual service are indented.
func (l *ldirectord) lines(file, text string) (globals []setting, virtuals []virtual) {
	number := 0
	inside, flat := false, false // flat: in a section that is not indented
	ended := false               // an empty line was in the section
	var unindented []setting
	for raw := range strings.Lines(text) {
		number++
		raw, remark, commented := strings.Cut(strings.TrimRight(raw, "\r\n"), "#")
		line := strings.TrimSpace(raw)
		if line == "" {
			ended = ended || !commented
			flat = flat && remark != ""
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		s := setting{strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value), convert.Origin{File: file, Line: number, Text: convert.Abbreviate(line)}}
		if convert.SecretKeywords[s.key] {
			s.from.Text = s.key + " …"
		}
		if strings.Count(value, `"`)%2 == 1 && strings.Contains(remark, `"`) {
			l.notes.Add(convert.ToDo, s.from, "ldirectord reads a line up to the #, also within quotes, and refuses this one")
		}
		indented := strings.HasPrefix(strings.ReplaceAll(raw, "\t", "    "), "    ")
		if inside && indented && ended {
			l.notes.Add(convert.ToDo, s.from, "an empty line ends a virtual service, and ldirectord refuses the file: this line and those after it are read as the service's")
			ended = false
		}
		if inside && !indented && (flat || onlyInSection(s.key)) && s.key != "virtual" && s.key != "virtual6" {
			flat, indented = true, true
			unindented = append(unindented, s)
		}
		switch {
		case s.key == "virtual" || s.key == "virtual6":
			virtuals, inside, flat, ended = append(virtuals, virtual{head: s}), true, false, false
		case indented && inside:
			v := &virtuals[len(virtuals)-1]
			v.lines = append(v.lines, s)
		default:
			inside = false
			globals = append(globals, s)
		}
	}
	if len(unindented) > 0 {
		l.notes.Add(convert.ToDo, unindented[0].from, fmt.Sprintf("the lines of a virtual service must be indented by four spaces or a tab, and ldirectord refuses the file: %d lines from here on are read as if they were", len(unindented)))
	}
	return globals, virtuals
}

// onlyInSection reports whether a setting can be in a virtual service only.
func onlyInSection(key string) bool {
	return key == "real" || key == "real6" || slices.Contains(serviceKeywords, key)
}

// unquote returns what is between the first and the last quote of a value that begins
// with one.
func unquote(s string) string {
	if end := strings.LastIndexByte(s, '"'); end > 0 && s[0] == '"' {
		return s[1:end]
	}
	return s
}

// inherited are global settings that a virtual service may override.
var inherited = []string{"checktimeout", "negotiatetimeout", "checkinterval", "checkcount", "failurecount", "fallback", "fallback6", "fallbackcommand", "quiescent"}

// keywords are settings without an equivalent.
var keywords = map[string]convert.Reason{
	"emailalert": convert.Unsupported(convert.MailByKind), "emailalertfreq": convert.Unneeded(convert.MailOnly), "emailalertfrom": convert.Unsupported(convert.MailByKind),
	"emailalertstatus": convert.Unsupported(convert.MailByKind), "smtp": convert.Unsupported(convert.MailByKind),
	"callback":       convert.Unsupported("lvsd runs no program when its file changes: notify gets an event of each reload"),
	"logfile":        convert.Unneeded("lvsd logs to stderr, which systemd keeps; lvsd events is the history"),
	"execute":        convert.Unsupported("convert that file, too, and put its services into this one: one lvsd has them all"),
	"supervised":     convert.Unneeded("lvsd run stays in the foreground"),
	"fork":           convert.Unneeded("lvsd's checks run side by side"),
	"readdquiescent": convert.Unneeded("lvsd puts back what it wants in the kernel's table"),
	"maintenancedir": convert.Unsupported("lvsd looks for no files: a server is drained by weight = 0, which lvsd reload takes up"),
	"monitorfile":    convert.Unneeded("lvsd events and lvsd why show what the checks found"),
	"comment":        convert.Unneeded("belongs to mails"),
}

// setting reads a global line.
func (l *ldirectord) setting(s setting) {
	yes := s.value == "yes"
	switch {
	case slices.Contains(inherited, s.key):
		l.global[s.key] = s
	case s.key == "autoreload":
		if yes {
			l.root.Child("global").Set("auto_reload", true, s.from)
		}
	case s.key == "emailalert":
		l.root.Child("email").Set("to", strings.FieldsFunc(unquote(s.value), func(r rune) bool { return r == ',' || r == ' ' }), s.from)
	case s.key == "emailalertfrom":
		l.root.Child("email").Set("from", unquote(s.value), s.from)
	case s.key == "smtp":
		l.root.Child("email").Set("server", convert.MailServer(s.value, ""), s.from)
	case s.key == "fork":
		l.fork = yes
		l.leaveOut(s, "")
	case s.key == "cleanstop":
		if yes {
			l.root.Child("ipvs").Set("on_stop", "remove", s.from)
		}
	case s.key == "include": // not a setting of ldirectord
		l.notes.Add(convert.LeftOut, s.from, "ldirectord reads no other file")
	default:
		l.leaveOut(s, "is not a setting that ldirectord(8) describes")
	}
}

func (l *ldirectord) leaveOut(s setting, otherwise string) {
	r, known := keywords[s.key]
	if !known {
		r = convert.Unsupported(otherwise)
	}
	l.notes.Add(r.Kind, s.from, r.Why)
}

// virtualReader reads one virtual service.
type virtualReader struct {
	*ldirectord
	s        *convert.Table
	from     convert.Origin
	address  netip.AddrPort // zero with a mark
	mark     int
	v6       bool
	protocol string             // "tcp", "udp", "" with a mark
	settings map[string]setting // its own, or else the global ones
	own      map[string]setting
	reals    []setting
}

// virtual converts a virtual service.
func (l *ldirectord) virtual(v virtual) {
	r := &virtualReader{ldirectord: l, s: &convert.Table{From: v.head.from}, from: v.head.from, v6: v.head.key == "virtual6", settings: map[string]setting{}, own: map[string]setting{}}
	for key, s := range l.global {
		r.settings[key] = s
	}
	for _, s := range v.lines {
		if slices.Contains(quotedKeywords, s.key) && strings.Count(s.value, `"`) < 2 {
			l.notes.Add(convert.ToDo, s.from, "ldirectord takes "+s.key+" in double quotes only, and refuses the file: it is read as if it had them")
		}
		switch {
		case s.key == "real" || s.key == "real6":
			r.reals = append(r.reals, s)
		case s.key == "checkinterval" && !l.fork:
			l.notes.Add(convert.Adjusted, s.from, "without fork = yes ldirectord has one checkinterval for all, the global one")
		case slices.Contains(inherited, s.key), slices.Contains(serviceKeywords, s.key):
			r.settings[s.key], r.own[s.key] = s, s
		case s.key == "cleanstop":
			l.notes.Add(convert.LeftOut, s.from, "what becomes of the table at a stop is said for all services, by on_stop in [ipvs]")
		default:
			l.leaveOut(s, "is not a setting of a virtual service that ldirectord(8) describes")
		}
	}
	if !r.identity(v.head) {
		return
	}
	r.serviceKeys()
	r.servers()
	if len(r.reals) > 0 && !r.s.Has("real_servers") {
		l.notes.Add(convert.Lost, v.head.from, convert.NoServers)
		return
	}
	l.root.Append("virtual_service", r.s)
}

// serviceKeywords are settings of a virtual service that are converted.
var serviceKeywords = []string{"checktype", "service", "checkcommand", "checkport", "request", "receive", "httpmethod", "virtualhost", "login", "passwd",
	"database", "secret", "scheduler", "schedflags", "persistent", "netmask", "protocol", "ops", "servicename"}

// quotedKeywords are settings whose value must be in double quotes.
var quotedKeywords = []string{"request", "receive", "login", "passwd", "database", "secret"}

func (r *virtualReader) text(key string) string { return unquote(r.settings[key].value) }

// identity reads the address or mark of the service.
func (r *virtualReader) identity(head setting) bool {
	head.value, _, _ = strings.Cut(head.value, " ") // the rest is ignored
	if mark, ok := convert.ParseInt(head.value, 1, 1<<32-1); ok {
		r.mark = mark
		r.s.Set("name", r.name("fwmark-"+strconv.Itoa(mark)), head.from)
		r.s.Set("fwmark", mark, head.from)
		if r.v6 {
			r.s.Set("family", "ipv6", head.from)
		}
		return true
	}
	r.protocol = "tcp"
	if strings.HasSuffix(head.value, ":53") {
		r.protocol = "udp" // ldirectord(8), protocol
	}
	if p := r.text("protocol"); p != "" {
		r.protocol = p
	}
	ap, err := convert.Lookup(head.value, r.protocol, r.world)
	if err != nil {
		r.notes.Add(convert.Lost, head.from, err.Error())
		return false
	}
	r.address, r.v6 = ap, ap.Addr().Is6()
	r.s.Set("name", r.name(convert.Namer{}.Service(r.protocol, ap.Addr(), int(ap.Port()))), head.from)
	r.s.Set("address", ap.String(), head.from)
	if r.protocol != "tcp" {
		r.s.Set("protocol", r.protocol, r.from)
	}
	return true
}

// name returns servicename, or a name made of the address.
func (r *virtualReader) name(otherwise string) string {
	if s, said := r.settings["servicename"]; said && unquote(s.value) != "" {
		name := r.names.Unique(unquote(s.value), otherwise)
		if name != unquote(s.value) {
			r.notes.Add(convert.NotNeeded, s.from, "the service is called "+name+": names are made of letters, digits, dot, dash and underscore")
		}
		return name
	}
	return r.names.Unique(otherwise, "service")
}

// serviceKeys writes the keys of the service itself.
func (r *virtualReader) serviceKeys() {
	s := r.s
	scheduler := cmp.Or(r.text("scheduler"), "wrr") // ldirectord(8)
	s.Set("scheduler", scheduler, r.at("scheduler"))
	flags := slices.DeleteFunc(strings.Split(r.text("schedflags"), ","), func(f string) bool { return strings.TrimSpace(f) == "" })
	if (scheduler == "sh" || scheduler == "mh") && !slices.Contains(flags, scheduler+"-fallback") && !slices.Contains(flags, "flag-1") {
		flags = append(flags, "no-fallback")
		r.notes.Hint("no-fallback is what ldirectord has for %s unless schedflags says %s-fallback: clients whose server has weight 0 are refused. Without it lvsd sends them to another server.", scheduler, scheduler)
	}
	if len(flags) > 0 {
		s.Set("scheduler_flags", flags, r.at("schedflags"))
	}
	persistence := time.Duration(r.number("persistent", 0, 1<<31)) * time.Second
	if persistence > 0 {
		s.Set("persistence", persistence, r.at("persistent"))
	}
	if mask := r.text("netmask"); mask != "" && !convert.IsHostMask(mask) {
		if persistence > 0 {
			s.Set("persistence_netmask", mask, r.at("netmask"))
		} else {
			r.notes.Add(convert.Adjusted, r.at("netmask"), "without persistent, ldirectord does not use it")
		}
	}
	if r.text("ops") == "yes" {
		if r.protocol == "udp" {
			s.Set("one_packet", true, r.at("ops"))
		} else {
			r.notes.Add(convert.Adjusted, r.at("ops"), "ldirectord uses it for udp only")
		}
	}
	if argv := convert.Argv([]string{r.text("fallbackcommand")}); len(argv) > 0 {
		// ldirectord(8): start when no server is left, stop when the first is back
		s.Set("quorum_down", withArgument(argv, "start"), r.at("fallbackcommand"))
		s.Set("quorum_up", withArgument(argv, "stop"), r.at("fallbackcommand"))
	}
	s.Set("on_failure", "remove", r.at("quiescent"))
	if r.text("quiescent") == "yes" {
		s.Set("on_failure", "quiesce", r.at("quiescent"))
	} else if r.protocol != "udp" {
		r.notes.Hint(`on_failure = "remove" is what ldirectord does without quiescent = yes: the connections of a failed server end. Without it lvsd gives the server weight 0 and lets them finish.`)
	}
}

// withArgument returns a command with one more argument, also for a line of the shell.
func withArgument(argv []string, word string) []string {
	if len(argv) == 3 && argv[0] == "/bin/sh" && argv[1] == "-c" {
		return []string{argv[0], argv[1], argv[2] + " " + word}
	}
	return append(slices.Clone(argv), word)
}

// at returns the origin of a setting, or else of the service.
func (r *virtualReader) at(key string) convert.Origin {
	if s, said := r.settings[key]; said {
		return s.from
	}
	return r.from
}

// forwardMethods are the values of forward by those of ldirectord.
var forwardMethods = map[string]string{"gate": "dr", "masq": "nat", "ipip": "tun"}

// servers converts the lines real, and the fallback.
func (r *virtualReader) servers() {
	counts, most, seen := map[string]int{}, "", map[string]bool{}
	for _, line := range r.reals {
		for _, rs := range r.real(line) {
			if seen[rs.Str("address")] {
				r.notes.Add(convert.LeftOut, line.from, rs.Str("address")+" is there already")
				continue
			}
			seen[rs.Str("address")] = true
			way := rs.Str("forward")
			if counts[way]++; counts[way] > counts[most] {
				most = way
			}
			r.s.Append("real_servers", rs)
		}
	}
	if most == "" {
		most = "dr"
	}
	for _, rs := range r.s.Tables("real_servers") {
		if rs.Str("forward") == most {
			rs.Delete("forward")
		}
	}
	if most != "dr" {
		r.s.Set("forward", most, r.from)
	}
	convert.HoistCheck(r.s)
	r.fallback(most)
}

// The parts of a line real after the method, as ldirectord finds them: each anywhere in what
// the one before it has left.
var (
	weightPart  = regexp.MustCompile(`\s+(\d+)(.*)`)
	askedPart   = regexp.MustCompile(`\s+"(.*)"[, ]\s*"(.*)"(.*)`)
	lowerPart   = regexp.MustCompile(`\s+l:(\d+)(.*)`)
	upperPart   = regexp.MustCompile(`\s+u:(\d+)(.*)`)
	methodWords = regexp.MustCompile(`(\w+)(.*)`)
)

// realLine is what a line real says after the address.
type realLine struct {
	way    string
	weight int
	asked  []string // request and receive
	limits map[string]int
}

// realLine reads gate|masq|ipip [weight] ["request", "receive"] [l:N] [u:N].
func (r *virtualReader) realLine(rest string, line setting) realLine {
	x := realLine{way: "dr", weight: 1, limits: map[string]int{}}
	if m := methodWords.FindStringSubmatch(rest); m != nil && forwardMethods[m[1]] != "" {
		x.way, rest = forwardMethods[m[1]], m[2]
	} else {
		r.notes.Add(convert.ToDo, line.from, "ldirectord refuses a server without gate, masq or ipip: gate is taken")
		rest = " " + rest
	}
	if m := weightPart.FindStringSubmatch(rest); m != nil {
		if n, ok := convert.ParseInt(m[1], 0, 65535); ok {
			x.weight = n
		} else {
			r.notes.Add(convert.LeftOut, line.from, m[1]+" is not a weight from 0 to 65535: 1 is taken")
		}
		rest = m[2]
	}
	if m := askedPart.FindStringSubmatch(rest); m != nil {
		x.asked, rest = m[1:3], m[3]
	}
	for key, part := range map[string]*regexp.Regexp{"l": lowerPart, "u": upperPart} {
		m := part.FindStringSubmatch(rest)
		if m == nil {
			continue
		}
		if v, ok := convert.ParseInt(m[1], 1, 1<<32-1); ok {
			x.limits[key] = v
		}
	}
	rest = upperPart.ReplaceAllString(lowerPart.ReplaceAllString(rest, "$2"), "$2")
	if rest = strings.TrimSpace(rest); rest != "" {
		r.notes.Add(convert.ToDo, line.from, fmt.Sprintf("ldirectord refuses this line, for what it ends with: %s", rest))
	}
	return x
}

// real reads ip[->ip][:port], and what follows it.
func (r *virtualReader) real(line setting) []*convert.Table {
	end := strings.IndexAny(line.value+" ", " \t")
	where, rest := line.value[:end], line.value[end:]
	if where == "" {
		r.notes.Add(convert.LeftOut, line.from, "names no server")
		return nil
	}
	first, last, port, err := r.addressRange(where)
	if err != nil {
		r.notes.Add(convert.LeftOut, line.from, err.Error())
		return nil
	}
	x := r.realLine(rest, line)
	var all []*convert.Table
	for a := first; ; a = a.Next() {
		if len(all) == convert.MaxRange {
			r.notes.Add(convert.LeftOut, line.from, fmt.Sprintf("only the first %d addresses are carried over", convert.MaxRange))
			break
		}
		all = append(all, r.server(a, port, x, line))
		if a == last {
			break
		}
	}
	return all
}

// addressRange reads ip[->ip][:port]; names are looked up.
func (r *virtualReader) addressRange(s string) (first, last netip.Addr, port int, err error) {
	from, to, isRange := strings.Cut(s, "->")
	protocol := r.protocol
	if protocol == "" {
		protocol = "tcp"
	}
	ap, err := convert.Lookup(from, protocol, r.world)
	if err != nil || !isRange {
		return ap.Addr(), ap.Addr(), int(ap.Port()), err
	}
	end, err := convert.Lookup(to, protocol, r.world)
	if err == nil && (end.Addr().Is4() != ap.Addr().Is4() || end.Addr().Less(ap.Addr())) {
		err = fmt.Errorf("%s is not a range of addresses", s)
	}
	return ap.Addr(), end.Addr(), int(end.Port()), err
}

// server returns one real server with its check. port is the one that is written; 0 =
// none.
func (r *virtualReader) server(a netip.Addr, port int, x realLine, line setting) *convert.Table {
	rs := &convert.Table{From: line.from, OneLine: true}
	written := port
	switch {
	case r.mark != 0 || r.address.Port() == 0:
		r.markPort(port, x.way, line)
		port = -1
	case port == 0 || x.way != "nat":
		port = int(r.address.Port())
	}
	rs.Set("address", convert.FormatEndpoint(a, port), line.from)
	rs.Set("weight", x.weight, line.from)
	for key, name := range map[string]string{"u": "upper_threshold", "l": "lower_threshold"} {
		if v := x.limits[key]; v > 0 {
			rs.Set(name, v, line.from)
		}
	}
	rs.Set("forward", x.way, line.from)
	rs.Set("check", r.check(a, port, written, x.asked, line), line.from)
	return rs
}

// markPort notes the port of a server of a mark, to which the kernel sends what it masquerades.
func (r *virtualReader) markPort(port int, way string, line setting) {
	if r.mark != 0 && port > 0 && way == "nat" && !r.s.Has("persistence") {
		r.notes.Add(convert.ToDo, line.from, convert.MarkPort(port))
	}
}

// fallback writes the fallback server.
func (r *virtualReader) fallback(forward string) {
	key := "fallback"
	if r.v6 {
		key = "fallback6"
	}
	s, said := r.settings[key]
	if !said && r.v6 && r.settings["fallback"].value != "" {
		s, said = r.settings["fallback"], strings.Contains(r.settings["fallback"].value, "[")
	}
	fields := convert.SplitWords(s.value)
	if !said || len(fields) == 0 {
		return
	}
	protocol := r.protocol
	if protocol == "" {
		protocol = "tcp"
	}
	ap, err := convert.Lookup(fields[0], protocol, r.world)
	if err != nil {
		r.notes.Add(convert.LeftOut, s.from, err.Error())
		return
	}
	way := "dr" // gate
	if len(fields) > 1 && forwardMethods[fields[1]] != "" {
		way = forwardMethods[fields[1]]
	}
	port := int(ap.Port())
	switch {
	case r.mark != 0 || r.address.Port() == 0:
		r.markPort(port, way, s)
		port = -1
	case port == 0 || way != "nat":
		port = int(r.address.Port())
	}
	if way != forward && !ap.Addr().IsLoopback() {
		r.notes.Add(convert.LeftOut, s.from, "the fallback is reached as the service's servers are, by "+forward)
	}
	r.s.Set("fallback", convert.FormatEndpoint(ap.Addr(), port), s.from)
}

// number returns the first number in a setting, which may have more around it, such as a
// unit; otherwise where there is none. One above most is most, with a note.
func (r *virtualReader) number(key string, otherwise, most int) int {
	return r.numberOf(r.settings[key], otherwise, most)
}

func (r *virtualReader) numberOf(s setting, otherwise, most int) int {
	text := unquote(s.value)
	text = text[len(text)-len(strings.TrimLeftFunc(text, notDigit)):]
	if end := strings.IndexFunc(text, notDigit); end >= 0 {
		text = text[:end]
	}
	n, ok := convert.ParseInt(text, 1, 1<<62)
	switch {
	case !ok:
		return otherwise
	case n > most:
		r.notes.Add(convert.LeftOut, s.from, fmt.Sprintf("lvsd takes %d at most: that is used", most))
	}
	return min(n, most)
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// timeout returns checktimeout or negotiatetimeout, in seconds. Each is the other's
// default: first those of the service, then the global ones.
func (r *virtualReader) timeout(key, other string, otherwise int) (time.Duration, convert.Origin) {
	for _, settings := range []map[string]setting{r.own, r.global} {
		for _, k := range []string{key, other} {
			if n := r.numberOf(settings[k], 0, 3600); n > 0 {
				return time.Duration(n) * time.Second, settings[k].from
			}
		}
	}
	return time.Duration(otherwise) * time.Second, r.from
}
