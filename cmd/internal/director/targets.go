package director

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/checker/probe/dialogue"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/markprobe"
	"lvsd/config"
	"lvsd/ipvs"
)

// targets turns the configured checks into the checker's form.
type targets struct {
	director     string // whose they are
	files        files
	current      *config.Config // whose checks the checker was given last
	filesChanged bool           // files were read since

	paths, currentPaths markprobe.Paths // those now, and those with current

	reports map[checker.ID]decision.Agent // of the agents before the start
}

// setTargets gives the checker its targets, where they changed. Not ready: some of them
// have to wait for the kernel.
func (d *Director) setTargets(c *config.Config, kernel ipvs.Table) (ready bool, err error) {
	d.targets.paths = d.marks.Paths()
	d.targets.director = c.Director
	if d.targets.unchanged(c) {
		d.targets.current = c
		return true, nil
	}
	d.targets.current = nil
	all, ready := d.targets.list(c, kernel)
	if err := d.deps.Checker.Set(all); err != nil {
		return false, err
	}
	if ready {
		d.targets.current, d.targets.currentPaths, d.targets.filesChanged = c, d.targets.paths, false
		d.targets.reports = nil // they were read
	}
	return ready, nil
}

// unchanged reports whether the checker has the targets of a configuration already: a
// reload that changes only weights does not concern it.
func (t *targets) unchanged(c *config.Config) bool {
	if t.current == nil || t.filesChanged || !reflect.DeepEqual(t.paths, t.currentPaths) || len(c.Services) != len(t.current.Services) {
		return false
	}
	if !slices.EqualFunc(decision.WitnessTargets(c.Guard), decision.WitnessTargets(t.current.Guard), sameTarget) {
		return false
	}
	for i, svc := range c.Services {
		was := t.current.Services[i]
		if svc.Digest != "" && svc.Digest == was.Digest {
			continue
		}
		now, _ := t.service(svc, nil)
		before, _ := t.service(was, nil)
		if !slices.EqualFunc(now, before, sameTarget) {
			return false
		}
	}
	return true
}

// list returns what to probe. Not ready: some of it has to wait for the kernel, and is
// left out.
func (t *targets) list(c *config.Config, kernel ipvs.Table) (all []checker.Target, ready bool) {
	t.director, ready = c.Director, true
	for _, svc := range c.Services {
		of, installed := t.service(svc, kernel)
		all, ready = append(all, of...), ready && installed
	}
	return append(all, decision.WitnessTargets(c.Guard)...), ready
}

// service returns the targets of one service. A server that the kernel has already is
// InKernel: it keeps its weight until its first result (docs/design.md, crash-only). One
// that is probed through a mark is left out until the kernel has its path; without a
// table this is not considered.
func (t *targets) service(svc config.Service, kernel ipvs.Table) (out []checker.Target, ready bool) {
	was := kernel[decision.ServiceKey(svc)].Destinations
	out, ready = make([]checker.Target, 0, len(svc.RealServers)), true
	for _, rs := range svc.RealServers {
		if kernel != nil && markprobe.Uses(rs) && !t.paths.Installed(svc, rs, kernel) {
			ready = false
			continue
		}
		_, known := was[rs.Address]
		target := checker.Target{ID: decision.ServerID(svc, rs), InKernel: known}
		if a, ok := t.reports[target.ID]; ok {
			target.Report = &outcome.AgentReport{Weight: a.Weight, Maint: a.Maint, Drain: a.Drain}
		}
		for _, check := range rs.Checks {
			made := t.check(check)
			if made.Type == probe.TypeExec {
				made.Service, made.Server = svc.Name, rs.Address.String()
			}
			if check.Through {
				t.paths.Apply(svc, rs, check, &made)
			}
			target.Checks = append(target.Checks, made)
		}
		out = append(out, target)
	}
	return out, ready
}

// sameTarget compares what is probed; InKernel counts for new targets only.
func sameTarget(a, b checker.Target) bool {
	return a.ID == b.ID && reflect.DeepEqual(a.Checks, b.Checks)
}

func (t *targets) check(c config.Check) probe.Check {
	source := c.SourceOf(t.director)
	out := probe.Check{
		Type:     c.Type,
		Name:     c.Name,
		Address:  c.Address,
		HostName: c.HostName,

		Interval:     c.Interval,
		FastInterval: c.FastInterval,
		Timeout:      c.Timeout,
		Rise:         c.Rise,
		Fall:         c.Fall,
		From:         source.From,
		Mark:         c.Mark,
		Interface:    source.Interface,
		FIN:          c.Close == "fin",

		ReadLimit:     cmp.Or(c.ReadLimit, -1),
		ProxyProtocol: c.ProxyProtocol,

		Send:         c.Send,
		Expect:       c.Expect,
		ExpectText:   c.ExpectText,
		ExpectNot:    c.ExpectNot,
		RequireReply: c.RequireReply,

		Method:          c.Method,
		Host:            c.Host,
		Path:            c.Path,
		Headers:         c.Headers,
		Body:            c.Body,
		BodyExpect:      c.BodyExpect,
		Digest:          c.Digest,
		FollowRedirects: c.FollowRedirects,
		HTTP2:           c.HTTP2,

		Count:       c.Count,
		DNSName:     c.DNSName,
		DNSRecord:   c.DNSRecord,
		DNSRcode:    c.DNSRcode,
		DNSAnswer:   c.DNSAnswer,
		DNSTCP:      c.DNSTCP,
		Helo:        c.Helo,
		Command:     c.Command,
		User:        c.User,
		GRPCService: c.GRPCService,
		File:        c.File,
		FileAbsent:  c.FileAbsent,
	}
	fill := func(send string) string { return send }
	if d := c.Dialogue; d != nil {
		password := t.files.passwords[d.PasswordFile]
		out.Secrets = dialogue.Secrets(password)
		if dialogue.Known(c.Type) {
			out.Dialogue = &dialogue.Settings{User: d.Login, Password: password, Secret: t.files.passwords[d.SecretFile],
				Database: d.Database, Role: d.Role, Query: d.Query, Base: d.Base}
		} else {
			fill = strings.NewReplacer("{password}", password).Replace
			out.Send = fill(out.Send)
		}
	}
	if e := c.Response; e != nil {
		out.Response = &probe.Response{Headers: e.ExpectHeaders, JSON: e.ExpectJSON, DrainHeader: e.DrainHeader, DrainMatch: e.DrainMatch}
		for _, r := range e.DrainStatus {
			out.Response.DrainStatus = append(out.Response.DrainStatus, probe.StatusRange(r))
		}
	}
	if more := t.files.headers[c.HeadersFile]; len(more) > 0 {
		out.Headers, out.Secrets = maps.Clone(c.Headers), append(out.Secrets, secretsOf(more)...)
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		maps.Copy(out.Headers, more)
	}
	for _, r := range c.Status {
		out.Status = append(out.Status, probe.StatusRange(r))
	}
	for _, s := range c.Steps {
		out.Steps = append(out.Steps, probe.Step{Send: fill(s.Send), Expect: s.Expect, ExpectText: s.ExpectText, ExpectNot: s.ExpectNot, StartTLS: s.StartTLS})
	}
	if c.UseTLS {
		ca := t.files.authorities[c.TLS.CAFile]
		own := t.files.pairs[[2]string{c.TLS.CertFile, c.TLS.KeyFile}]
		out.TLS = &probe.TLSConfig{
			Verify:         c.TLS.Verify,
			ServerName:     c.ServerName,
			CAs:            ca.pool,
			CAKey:          ca.hash,
			Certificate:    own.certificate,
			CertificateKey: own.hash,
			MinVersion:     c.TLS.MinVersion,
			Legacy:         c.TLS.Legacy,
			ALPN:           c.TLS.ALPN,
		}
	}
	return out
}

// Probes returns the checks of a service's real servers as the daemon runs them, to run
// them once. Those through a mark need the path that only the daemon installs, and are
// left out: see RunMarkProbes.
func Probes(c *config.Config, svc config.Service) ([]checker.Target, error) {
	var t targets
	change, err := t.read(c)(nil, c)
	if err != nil {
		return nil, err
	}
	change.Commit()
	t.director = c.Director
	all, _ := t.service(svc, nil)
	for i := range all {
		all[i].Checks = slices.DeleteFunc(all[i].Checks, func(c probe.Check) bool { return c.MarkPath })
	}
	return all, nil
}

// Impossible returns why this machine cannot make some of the checks, with their places in
// the file: see probe.CheckHost. What the file itself lacks is Try's to report.
func Impossible(ctx context.Context, c *config.Config, common *probe.Shared) []error {
	var t targets
	change, err := t.read(c)(nil, c)
	if err != nil {
		return nil
	}
	change.Commit()
	t.director = c.Director
	known := map[string]error{} // many servers share a program or a source address
	reported := map[string]bool{}
	var all []error
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			for _, check := range rs.Checks {
				made := t.check(check)
				made.MarkPath = check.Through
				key := fmt.Sprint(made.Type, made.Command, made.HostName, made.Address.Addr(), made.From, made.Mark, made.Interface, made.MarkPath)
				err, done := known[key]
				if !done {
					err = probe.CheckHost(ctx, made, common)
					known[key] = err
				}
				if err == nil {
					continue
				}
				err = fmt.Errorf("%s:%d:%d: virtual_service %s: %s check: %w", c.File, check.Line, check.Col, svc.Name, check.Type, err)
				if !reported[err.Error()] {
					reported[err.Error()] = true
					all = append(all, err)
				}
			}
		}
	}
	return all
}
