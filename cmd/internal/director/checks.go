package director

// Checks translates the configured checks into the checker's words and reads
// the files that they name.

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// checks holds what was read from files for the running configuration.
type checks struct {
	authorities map[string]authorities // by file name
}

// authorities are the certificates of one ca_file. The hash of its text tells
// a file that was changed from one that was not.
type authorities struct {
	pool *x509.CertPool
	hash string
}

// prepare reads the certificate files, and refuses when one cannot be had.
func (cs *checks) prepare(_, next *config.Config) (Change, error) {
	read := map[string]authorities{}
	for _, svc := range next.Services {
		for _, rs := range svc.RealServers {
			for _, c := range rs.Checks {
				file := c.TLS.CAFile
				if _, done := read[file]; done || file == "" {
					continue
				}
				found, err := readAuthorities(file)
				if err != nil {
					return Change{}, fmt.Errorf("%s:%d:%d: virtual_service %s: %w", next.File, c.Line, c.Col, svc.Name, err)
				}
				read[file] = found
			}
		}
	}
	return Change{Commit: func() { cs.authorities = read }}, nil
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

// targets lists what is to be probed. A server that the kernel has already is
// Known: it keeps what it has until its own verdict (rule 7 of the house).
func (cs *checks) targets(c *config.Config, kernel ipvs.Table) []checker.Target {
	var out []checker.Target
	for _, svc := range c.Services {
		was := kernel[WantedService(svc).Key].Destinations
		for _, rs := range svc.RealServers {
			_, known := was[rs.Address]
			t := checker.Target{ID: ServerID(svc, rs), Known: known}
			for _, check := range rs.Checks {
				t.Checks = append(t.Checks, cs.probe(check))
			}
			out = append(out, t)
		}
	}
	return out
}

func (cs *checks) probe(c config.Check) checker.Check {
	out := checker.Check{
		Type:         c.Type,
		Address:      c.Address,
		Interval:     c.Interval,
		FastInterval: c.FastInterval,
		Timeout:      c.Timeout,
		Rise:         c.Rise,
		Fall:         c.Fall,
		From:         c.From,
		Mark:         c.Mark,
		Send:         c.Send,
		Expect:       c.Expect,
		Method:       c.Method,
		Host:         c.Host,
		Path:         c.Path,
		Headers:      c.Headers,
		BodyExpect:   c.BodyExpect,
	}
	for _, r := range c.Status {
		out.Status = append(out.Status, checker.StatusRange(r))
	}
	if c.Type == "https" {
		ca := cs.authorities[c.TLS.CAFile]
		out.TLS = &checker.TLSConfig{
			Verify:     c.TLS.Verify,
			ServerName: c.TLS.ServerName,
			CAs:        ca.pool,
			CAKey:      ca.hash,
		}
	}
	return out
}
