package director

// Checks translates the configured checks into the checker's words and reads
// the files that they name.

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"lvsd/checker"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// checks holds what was read from files for the running configuration, and the
// configuration whose checks the checker was given last.
type checks struct {
	files   files
	given   *config.Config
	renewed bool // files were read since

	paths, givenPaths Throughs // of probes through the kernel: those now, and those with given
}

// files are the certificates that checks name. The hash of a file's text tells
// one that was changed from one that was not.
type files struct {
	authorities map[string]authorities // by file name
	pairs       map[[2]string]pair     // by the names of certificate and key
	headers     map[string]map[string]string
}

type authorities struct {
	pool *x509.CertPool
	hash string
}

// pair is a client's certificate with its key.
type pair struct {
	certificate *tls.Certificate
	hash        string
}

// prepare reads the certificate files, and refuses when one cannot be had.
func (cs *checks) prepare(_, next *config.Config) (reload.Change, error) {
	read := files{map[string]authorities{}, map[[2]string]pair{}, map[string]map[string]string{}}
	var mistakes []error
	told := map[config.Position]bool{}
	for _, svc := range next.Services {
		for _, rs := range svc.RealServers {
			for _, c := range rs.Checks {
				err := read.add(c.TLS)
				if err == nil {
					err = read.addHeaders(c.HeadersFile)
				}
				if err == nil && c.User != "" && !told[c.Position] {
					err = probe.Try(cs.probe(c))
				}
				if at := c.Position; err != nil && !told[at] { // one check of many servers is one mistake
					told[at] = true
					mistakes = append(mistakes, fmt.Errorf("%s:%d:%d: virtual_service %s: %w", next.File, c.Line, c.Col, svc.Name, err))
				}
			}
		}
	}
	if err := errors.Join(mistakes...); err != nil {
		return reload.Change{}, err
	}
	return reload.Change{Commit: func() {
		cs.renewed = len(read.authorities)+len(read.pairs)+len(read.headers)+len(cs.files.authorities)+len(cs.files.pairs)+len(cs.files.headers) > 0
		cs.files = read
	}}, nil
}

// add reads what was not read yet.
func (f files) add(c config.TLS) error {
	if _, done := f.authorities[c.CAFile]; !done && c.CAFile != "" {
		found, err := readAuthorities(c.CAFile)
		if err != nil {
			return err
		}
		f.authorities[c.CAFile] = found
	}
	names := [2]string{c.CertFile, c.KeyFile}
	if _, done := f.pairs[names]; !done && c.CertFile != "" {
		found, err := readPair(c.CertFile, c.KeyFile)
		if err != nil {
			return err
		}
		f.pairs[names] = found
	}
	return nil
}

func readAuthorities(file string) (authorities, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return authorities{}, fmt.Errorf("failed to read ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return authorities{}, fmt.Errorf("ca_file %s holds no PEM certificate", file)
	}
	return authorities{pool: pool, hash: fmt.Sprintf("%x", sha256.Sum256(text))}, nil
}

func readPair(certFile, keyFile string) (pair, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return pair{}, fmt.Errorf("failed to read cert_file: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return pair{}, fmt.Errorf("failed to read key_file: %w", err)
	}
	made, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair{}, fmt.Errorf("cert_file %s and key_file %s: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	sum := sha256.Sum256(cert) // a key that fits another certificate was refused
	return pair{certificate: &made, hash: fmt.Sprintf("%x", sum)}, nil
}

// unchanged says that what is to be probed is what the checker was given last: a
// reload that changes weights is none of its business.
func (cs *checks) unchanged(c *config.Config) bool {
	if cs.given == nil || cs.renewed || !reflect.DeepEqual(cs.paths, cs.givenPaths) || len(c.Services) != len(cs.given.Services) {
		return false
	}
	if !slices.EqualFunc(decision.WitnessTargets(c.Guard), decision.WitnessTargets(cs.given.Guard), sameTarget) {
		return false
	}
	for i, svc := range c.Services {
		was := cs.given.Services[i]
		if svc.Digest != "" && svc.Digest == was.Digest {
			continue
		}
		now, _ := cs.serviceTargets(svc, nil)
		before, _ := cs.serviceTargets(was, nil)
		if !slices.EqualFunc(now, before, sameTarget) {
			return false
		}
	}
	return true
}

// targets lists what is to be probed. Not ready says that some of it has to wait
// for the kernel, and is left out.
func (cs *checks) targets(c *config.Config, kernel ipvs.Table) (all []checker.Target, ready bool) {
	ready = true
	for _, svc := range c.Services {
		targets, led := cs.serviceTargets(svc, kernel)
		all, ready = append(all, targets...), ready && led
	}
	return append(all, decision.WitnessTargets(c.Guard)...), ready
}

// serviceTargets are those of one service. A server that the kernel has already
// is Known: it keeps what it has until its own verdict (rule 7 of the house). One
// that is probed through the kernel is left out until the kernel has the path;
// without a table it is not asked.
func (cs *checks) serviceTargets(svc config.Service, kernel ipvs.Table) (out []checker.Target, ready bool) {
	was := kernel[decision.ServiceKey(svc)].Destinations
	out, ready = make([]checker.Target, 0, len(svc.RealServers)), true
	for _, rs := range svc.RealServers {
		if kernel != nil && probedThrough(rs) && !cs.paths.open(svc, rs, kernel) {
			ready = false
			continue
		}
		_, known := was[rs.Address]
		t := checker.Target{ID: decision.ServerID(svc, rs), Known: known}
		for _, check := range rs.Checks {
			made := cs.probe(check)
			if made.Type == probe.TypeExec {
				made.Service, made.Server = svc.Name, rs.Address.String()
			}
			if check.Through {
				cs.paths.lead(svc, rs, check, &made)
			}
			t.Checks = append(t.Checks, made)
		}
		out = append(out, t)
	}
	return out, ready
}

// sameTarget compares what is probed; Known counts for new targets only.
func sameTarget(a, b checker.Target) bool {
	return a.ID == b.ID && reflect.DeepEqual(a.Checks, b.Checks)
}

func (cs *checks) probe(c config.Check) probe.Check {
	out := probe.Check{
		Type:     c.Type,
		Address:  c.Address,
		HostName: c.HostName,

		Interval:     c.Interval,
		FastInterval: c.FastInterval,
		Timeout:      c.Timeout,
		Rise:         c.Rise,
		Fall:         c.Fall,
		From:         c.From,
		Mark:         c.Mark,

		Send:         c.Send,
		Expect:       c.Expect,
		ExpectText:   c.ExpectText,
		RequireReply: c.RequireReply,

		Method:          c.Method,
		Host:            c.Host,
		Path:            c.Path,
		Headers:         c.Headers,
		Body:            c.Body,
		BodyExpect:      c.BodyExpect,
		ExpectNot:       c.ExpectNot,
		Digest:          c.Digest,
		FollowRedirects: c.FollowRedirects,
		HTTP2:           c.HTTP2,
		ProxyProtocol:   c.ProxyProtocol,

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
	}
	if more := cs.files.headers[c.HeadersFile]; len(more) > 0 {
		out.Headers, out.Secrets = maps.Clone(c.Headers), secretsOf(more)
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		maps.Copy(out.Headers, more)
	}
	for _, r := range c.Status {
		out.Status = append(out.Status, probe.StatusRange(r))
	}
	for _, s := range c.Steps {
		out.Steps = append(out.Steps, probe.Step(s))
	}
	if c.UseTLS {
		ca := cs.files.authorities[c.TLS.CAFile]
		own := cs.files.pairs[[2]string{c.TLS.CertFile, c.TLS.KeyFile}]
		out.TLS = &probe.TLSConfig{
			Verify:         c.TLS.Verify,
			ServerName:     c.TLS.ServerName,
			CAs:            ca.pool,
			CAKey:          ca.hash,
			Certificate:    own.certificate,
			CertificateKey: own.hash,
			MinVersion:     c.TLS.MinVersion,
		}
	}
	return out
}

// Probes are the checks of a service's real servers as the daemon runs them, for
// whoever wants to run them once. Those that go through the kernel need the path
// that only the daemon lays, and are left out: ProbeThrough runs them.
func Probes(c *config.Config, svc config.Service) ([]checker.Target, error) {
	var cs checks
	change, err := cs.prepare(nil, c)
	if err != nil {
		return nil, err
	}
	change.Commit()
	targets, _ := cs.serviceTargets(svc, nil)
	for i := range targets {
		targets[i].Checks = slices.DeleteFunc(targets[i].Checks, func(c probe.Check) bool { return c.MarkPath })
	}
	return targets, nil
}
