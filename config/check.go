// The checks: the keys that all types share, and how a check written once for a
// service becomes one for each of its real servers.

package config

import (
	"cmp"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// checkTemplate is a check without the real server that it probes.
type checkTemplate struct {
	record   *reader.Table
	check    Check // all but what depends on the real server
	override netip.AddrPort
	// anyHost: override has no address, only a port. anyPort: no port.
	anyHost, anyPort bool
	// Errors that depend on the real server, and are reported for the first only.
	wrongFamily, missingPort, wrongForward, unsuitable bool
}

// checkTemplates reads the checks under the key "check" of a service or real server.
func checkTemplates(t *reader.Table) []*checkTemplate {
	records := t.Tables("check")
	if len(records) == 0 && t.IsSet("check") && t.Valid("check") {
		t.Errorf("check", `must contain at least one check: { type = "on" } is always up`)
		return nil
	}
	plans := make([]*checkTemplate, 0, len(records))
	for _, r := range records {
		plans = append(plans, newCheckTemplate(r))
	}
	nameChecks(plans)
	return plans
}

// nameChecks gives each check of a server a name that no other of its checks has.
func nameChecks(plans []*checkTemplate) {
	taken := map[string]Position{}
	for _, p := range plans {
		label := p.record.Str("label")
		if label == "" || !p.record.Valid("label") {
			continue
		}
		problem := values.CheckName(label)
		if first, twice := taken[label]; twice && problem == "" {
			problem = values.Quote(label) + " is the label of the check at line " + strconv.Itoa(first.Line) + " already"
		}
		if problem != "" {
			p.record.Errorf("label", "%s", problem)
		}
		taken[label], p.check.Name = p.check.Position, label
	}
	for _, p := range plans {
		if p.check.Name != "" {
			continue
		}
		name := p.check.Type
		if len(plans) > 1 {
			name = p.description()
		}
		p.check.Name = name
		for n := 2; taken[p.check.Name] != (Position{}); n++ {
			p.check.Name = name + " #" + strconv.Itoa(n)
		}
		taken[p.check.Name] = p.check.Position
	}
}

// description is what tells a check apart from others of its server: "http /healthz :8080".
func (p *checkTemplate) description() string {
	words := []string{p.check.Type}
	switch path, _, _ := strings.Cut(p.check.Path, "?"); { // a query may hold a secret
	case path != "" && path != "/":
		words = append(words, path)
	case p.check.DNSName != "":
		words = append(words, p.check.DNSName)
	case p.check.GRPCService != "":
		words = append(words, p.check.GRPCService)
	case len(p.check.Command) > 0:
		words = append(words, filepath.Base(p.check.Command[0]))
	case p.check.File != "":
		words = append(words, filepath.Base(p.check.File))
	}
	port := ":" + strconv.Itoa(int(p.override.Port()))
	switch host := p.check.HostName; {
	case host != "" && p.anyPort:
		words = append(words, host)
	case host != "":
		words = append(words, host+port)
	case !p.anyHost && !p.anyPort:
		words = append(words, p.override.String())
	case !p.anyHost:
		words = append(words, p.override.Addr().String())
	case !p.anyPort:
		words = append(words, port)
	}
	if p.check.Through {
		words = append(words, "through")
	}
	return strings.Join(words, " ")
}

// newCheckTemplate reads one check.
func newCheckTemplate(t *reader.Table) *checkTemplate {
	p := &checkTemplate{record: t, check: Check{CheckSettings: &CheckSettings{}}, anyHost: true, anyPort: true}
	ck := &p.check
	ck.Type, ck.Position = t.Str("type"), t.Start
	ck.Interval, ck.Timeout = t.Duration("interval"), t.Duration("timeout")
	ck.Rise, ck.Fall = int(t.Int("rise")), int(t.Int("fall"))
	ck.Mark = uint32(t.Int("mark"))
	t.RefuseForeignKeys(ck.Type)

	if !t.IsSet("timeout") {
		ck.Timeout = min(defaultTimeout, ck.Interval)
	}
	if ck.FastInterval = t.Duration("fast_interval"); ck.FastInterval == 0 {
		ck.FastInterval = ck.Interval
	}
	if ck.FastInterval > ck.Interval {
		t.Errorf("fast_interval", "must be at most interval, which is %s, not %s", values.FormatDuration(ck.Interval), values.FormatDuration(ck.FastInterval))
	}
	if ck.Timeout > ck.Interval {
		t.Warnf("timeout", "%s is longer than interval, %s: a probe that hangs delays the next one, and a dead server is noticed later", values.FormatDuration(ck.Timeout), values.FormatDuration(ck.Interval))
	}
	checkSources(t, ck)
	if t.IsSet("address") && t.Valid("address") {
		p.target(t.Str("address"))
	}
	if ck.Through = t.Bool("through"); ck.Through && !p.anyHost {
		t.Errorf("through", "probes the service's address on the real server, and address names another: remove one")
	}
	if ck.Through && ck.Mark != 0 {
		t.Errorf("mark", "is chosen by through, from [ipvs] through_marks: remove one")
	}
	switch ck.Type {
	case "connect":
		ck.Close = t.Str("close")
	case "tcp":
		ck.Close = t.Str("close")
		tcpExchange(t, ck)
		sentPassword(t, ck)
		tlsSettings(t, ck)
		if i := slices.IndexFunc(ck.Steps, func(s Step) bool { return s.StartTLS }); i >= 0 && !ck.UseTLS && t.Valid("tls") {
			t.Tables("steps")[i].Errorf("starttls", "needs the settings of TLS: add tls = true to the check")
		}
	case "udp":
		udpExchange(t, ck)
		sentPassword(t, ck)
	case "http", "https":
		httpRequest(t, ck)
		tlsSettings(t, ck)
	case "ping":
		ck.Count = int(t.Int("count"))
	case "dns":
		dnsQuery(t, ck)
	case "smtp":
		smtpBanner(t, ck)
		tlsSettings(t, ck)
	case "exec":
		execCommand(t, ck)
	case "agent":
		p.agentPort()
		ck.Send = t.Str("send")
	case "grpc":
		ck.GRPCService, ck.ProxyProtocol = t.Str("service"), t.Str("proxy_protocol")
		tlsSettings(t, ck)
	case "file":
		ck.File, ck.FileAbsent = pathValue(t, "file"), !t.Bool("file_exists")
		if !t.IsSet("file") {
			t.ErrorAt(t.Start, t.Path.Key("file"), `missing: say which file, such as "/run/lvsd/web.up"`)
		}
	}
	if schema.IsDialogue(ck.Type) {
		dialogueSettings(t, ck)
		tlsSettings(t, ck)
		if ck.Type == "sip" && ck.ProxyProtocol != "" && !ck.DNSTCP && !ck.UseTLS {
			t.Errorf("proxy_protocol", "has no effect with UDP: add tcp = true")
		}
	}
	return p
}

// checkSources reads where probes come from, which may differ between the directors.
func checkSources(t *reader.Table, ck *Check) {
	names := t.Directors()
	if len(names) == 0 {
		ck.Source = checkSource(t)
		return
	}
	ck.Source = checkSource(t.For(names[0]))
	all, differ := map[string]Source{names[0]: ck.Source}, false
	for _, name := range names[1:] {
		all[name] = checkSource(t.For(name))
		differ = differ || all[name] != ck.Source
	}
	if differ {
		ck.Source, ck.Sources = Source{}, all
	}
}

// checkSource reads where the probes of one director come from.
func checkSource(t *reader.Table) (s Source) {
	problem := ""
	if from := t.Str("from"); from != "" {
		if s.From, problem = values.ParseIP(from); problem != "" {
			t.Errorf("from", "%s", problem)
		}
	}
	if s.Interface = t.Str("interface"); s.Interface != "" {
		if problem := values.CheckInterface(s.Interface); problem != "" {
			t.Errorf("interface", "%s", problem)
		}
	}
	return s
}

// target reads the key address of a check: IP:PORT, or IP or :PORT alone, the
// other half being the real server's. A host name may stand in place of the IP.
func (p *checkTemplate) target(s string) {
	t, problem := p.record, ""
	if port, only := strings.CutPrefix(s, ":"); only {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			problem = "must be a port from 1 to 65535 after the colon, not " + values.Quote(s)
		}
		p.override, p.anyPort = netip.AddrPortFrom(netip.Addr{}, uint16(n)), false
	} else if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && !strings.Contains(a.Zone(), "]") && values.MissingBrackets(s) == "" {
		problem = values.CheckHost(a)
		p.override, p.anyHost = netip.AddrPortFrom(a, 0), false
	} else if isHostName(s) {
		problem = p.hostNameTarget(s)
	} else {
		p.override, problem = values.ParseAddrPort(s, values.RequirePort)
		if problem == "" && p.override.Port() == 0 {
			problem = values.NoPortZero
		}
		p.anyHost, p.anyPort = false, false
	}
	if host := p.override.Addr(); host.Is6() && host.IsLinkLocalUnicast() && p.check.Type != "exec" {
		problem = p.linkLocal(host)
	}
	if problem != "" {
		p.anyHost, p.anyPort = true, true
		t.Invalidate("address", "%s", problem)
	}
}

// linkLocal returns what a check of a link-local address lacks: the interface, which a key
// of its own names, as it may differ between the directors.
func (p *checkTemplate) linkLocal(host netip.Addr) string {
	here, unbound := host.WithZone("").String(), p.check.Source.Interface == "" && len(p.check.Sources) == 0
	for _, s := range p.check.Sources {
		unbound = unbound || s.Interface == ""
	}
	switch {
	case p.check.Type == "syn":
		return here + ` is link-local, which syn can't probe: use type = "connect" and the key interface, or write another address of the server`
	case unbound:
		return here + " is link-local: write it without a zone, and say where it is with interface = " + values.Quote(cmp.Or(host.Zone(), "eth0"))
	case host.Zone() != "":
		return "must be without a zone: leave out %" + host.Zone() + ", the key interface says where"
	}
	return ""
}

// isHostName reports whether s is a host name, with or without a port, and not a
// malformed address: no top-level domain is a number (RFC 3696 §2).
func isHostName(s string) bool {
	name, _, _ := strings.Cut(s, ":")
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Count(s, ":") < 2 && strings.Trim(last, "0123456789") != ""
}

// hostNameTarget reads a name with or without a port.
func (p *checkTemplate) hostNameTarget(s string) (problem string) {
	name, port, withPort := strings.Cut(s, ":")
	p.check.HostName, p.anyHost = strings.TrimSuffix(name, "."), false
	if withPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "must have a port from 1 to 65535 after the colon, not " + values.Quote(s)
		}
		p.override, p.anyPort = netip.AddrPortFrom(netip.Addr{}, uint16(n)), false
	}
	return values.CheckHostName(name)
}

// quotePath quotes a path without what follows its question mark, which may be a
// secret.
func quotePath(path string) string {
	path, _, more := strings.Cut(path, "?")
	if more {
		return values.Quote(path+"?") + "…"
	}
	return values.Quote(path)
}

// httpRequest reads the keys of http and https.
func httpRequest(t *reader.Table, check *Check) {
	check.Method, check.Path, check.Host = t.Str("method"), t.Str("path"), t.Str("host")
	check.BodyExpect = t.Regexp("expect")
	check.Headers, _ = t.Value("headers").(map[string]string)
	check.HeadersFile = pathValue(t, "headers_file")
	check.Status = statusRanges(t, "status")
	if !values.IsToken(check.Method) {
		t.Errorf("method", `must be a method such as "GET" or "HEAD", not %s`, values.Quote(check.Method))
	}
	if check.Method == "HEAD" && check.BodyExpect != "" {
		t.Errorf("expect", "cannot match: a response to HEAD has no body")
	}
	asterisk := check.Path == "*" && check.Method == "OPTIONS" && !t.Bool("http2") // RFC 9112 §3.2.4
	if !asterisk && !strings.HasPrefix(check.Path, "/") || strings.ContainsFunc(check.Path, values.IsUnprintable) {
		t.Errorf("path", `must begin with a slash and be free of spaces, such as "/healthz", not %s`, quotePath(check.Path))
	}
	if t.IsSet("host") && (check.Host == "" || strings.ContainsAny(check.Host, "/@?#") || strings.ContainsFunc(check.Host, values.IsUnprintable)) {
		t.Errorf("host", `must be a host name as in a URL, such as "www.example.com", not %s`, values.Quote(check.Host))
	}
	f, _ := t.Field("headers")
	for _, name := range slices.Sorted(maps.Keys(check.Headers)) {
		value := check.Headers[name]
		problem := ""
		switch {
		case !values.IsToken(name):
			problem = "is not the name of a header"
		case strings.EqualFold(name, "Host"):
			problem = "is the key host of the check: write it there"
		case strings.ContainsAny(value, "\r\n\x00"):
			problem = "must be one line"
		}
		if problem != "" && f.Node != nil {
			t.ErrorAt(f.Node.Get(name).Value, t.Path.Key("headers").Key(name), "%s", problem)
		}
	}
	httpResponse(t, check)
}

// statusRanges reads "200-299, 401".
func statusRanges(t *reader.Table, key string) []StatusRange {
	s := t.Str(key)
	var ranges []StatusRange
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		last, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err1 != nil || err2 != nil || first < 100 || last > 599 || first > last {
			t.Errorf(key, `must be codes from 100 to 599 or ranges of them, such as "200-299" or "200, 301-302", not %s`, values.Quote(s))
			return nil
		}
		ranges = append(ranges, StatusRange{int(first), int(last)})
	}
	slices.SortFunc(ranges, func(a, b StatusRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(ranges)
}

// resolve makes the check for one real server.
func (p *checkTemplate) resolve(server RealServer) Check {
	ck := p.check
	host, port := server.Address.Addr(), server.Address.Port()
	if !p.anyHost {
		host = p.override.Addr()
	}
	if !p.anyPort {
		port = p.override.Port()
	}
	if ck.Type == "ping" {
		port = 0
	}
	ck.Address = netip.AddrPortFrom(host, port)
	if server.Address.IsValid() {
		p.checkServer(ck, server)
	}
	if ck.Type == "agent" {
		ck.Port = port
	}
	if ck.Type == "http" || ck.Type == "https" {
		if ck.Host == "" {
			ck.Host = p.hostHeader(ck)
		}
	}
	if ck.UseTLS && ck.ServerName == "" {
		switch {
		case ck.Host != "":
			ck.ServerName = hostOnly(ck.Host)
		case ck.HostName != "":
			ck.ServerName = ck.HostName
		case host.IsValid():
			ck.ServerName = host.String()
		}
	}
	return ck
}

// checkServer reports what does not suit the real server, once a check.
func (p *checkTemplate) checkServer(check Check, server RealServer) {
	host := check.Address.Addr()
	for _, s := range append(slices.Collect(maps.Values(check.Sources)), check.Source) {
		if s.From.IsValid() && host.IsValid() && s.From.Is4() != host.Is4() && !p.wrongFamily {
			p.wrongFamily = true
			p.record.Errorf("from", "%s cannot reach %s: one is IPv4, the other IPv6", s.From, host)
		}
	}
	if check.Address.Port() == 0 && !p.missingPort && check.Type != "" && p.record.Valid("address") && !schema.Portless(check.Type) {
		p.missingPort = true
		if check.Type == "agent" {
			p.record.ErrorAt(p.record.Start, p.record.Path.Key("port"), "missing: say which port the agent answers on")
		} else {
			p.record.ErrorAt(p.record.Start, p.record.Path.Key("address"), `missing: %s has no port, so say which one is probed, such as address = ":80"`, server.Address.Addr())
		}
	}
	p.warnUnsuitable(&check)
	if check.Through && server.Forward == "nat" && !p.wrongForward {
		p.wrongForward = true
		p.record.Errorf("through", `is for forward = "dr" and "tun": with "nat" real servers do not have the service's address`)
	}
}

// hostHeader returns the Host header where the file has none.
func (p *checkTemplate) hostHeader(check Check) string {
	if check.HostName == "" {
		return hostHeader(check.Type, check.Address)
	}
	if port := check.Address.Port(); port != schemePort[check.Type] {
		return check.HostName + ":" + strconv.Itoa(int(port))
	}
	return check.HostName
}

var schemePort = map[string]uint16{"http": 80, "https": 443}

// hostHeader returns the Host header for an address: without the port where it is
// the scheme's own (RFC 9110 §7.2).
func hostHeader(scheme string, a netip.AddrPort) string {
	if a.Port() == schemePort[scheme] {
		if a.Addr().Is6() {
			return "[" + a.Addr().String() + "]"
		}
		return a.Addr().String()
	}
	return a.String()
}

// hostOnly removes the port and the brackets from a Host header.
func hostOnly(s string) string {
	if end := strings.LastIndexByte(s, ':'); end >= 0 && !strings.HasSuffix(s, "]") {
		s = s[:end]
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
}

// checkMarkProbes validates checks with through, which probe the service's address on
// the real server itself by a firewall mark, against the rest of the file.
func checkMarkProbes(root *reader.Table, services []Service) {
	first := uint32(root.Table("ipvs").Int("through_marks"))
	type path struct {
		server  netip.Addr
		forward string
	}
	paths, any := map[path]bool{}, false
	for i, t := range root.Tables("virtual_service") {
		if i >= len(services) {
			return
		}
		s := services[i]
		for _, rs := range s.RealServers {
			for _, check := range rs.Checks {
				if !check.Through {
					continue
				}
				any = true
				paths[path{rs.Address.Addr(), rs.Forward}] = true
				if s.FWMark != 0 {
					t.ErrorAt(check.Position, t.Path.Key("check").Key("through"), "a firewall mark has no address that could be probed on a real server: remove it")
					return
				}
			}
		}
	}
	if len(paths) > ProbeMarkCount {
		root.Errorf("virtual_service", "%d real servers are probed through the kernel, more than the %d available marks", len(paths), ProbeMarkCount)
	}
	if !any {
		return
	}
	for i, t := range root.Tables("virtual_service") {
		if i < len(services) && services[i].FWMark-first < ProbeMarkCount && services[i].FWMark != 0 {
			t.Errorf("fwmark", "%d is one of the marks of checks with through, %d to %d: choose another, or another [ipvs] through_marks", services[i].FWMark, first, first+ProbeMarkCount-1)
		}
	}
}
