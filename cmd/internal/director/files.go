package director

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"lvsd/checker/probe"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
)

// files are the certificates and headers that checks name. The hash of a file's
// content identifies a changed one.
type files struct {
	authorities map[string]authorities // by file name
	pairs       map[[2]string]pair     // by the names of certificate and key
	headers     map[string]map[string]string
	passwords   map[string]string // and shared secrets
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

// read reads the files that checks name. The participant refuses the configuration when
// one cannot be used.
func (t *targets) read(next *config.Config) reload.Participant {
	read := files{map[string]authorities{}, map[[2]string]pair{}, map[string]map[string]string{}, map[string]string{}}
	var errs []error
	reported := map[config.Position]bool{}
	for _, svc := range next.Services {
		for _, rs := range svc.RealServers {
			for _, c := range rs.Checks {
				err := read.add(c.TLS)
				if err == nil {
					err = read.addHeaders(c.HeadersFile)
				}
				if d := c.Dialogue; err == nil && d != nil {
					err = cmp.Or(read.addPassword("password_file", d.PasswordFile), read.addPassword("secret_file", d.SecretFile))
				}
				if err == nil && (c.User != "" || c.Dialogue != nil) && !reported[c.Position] {
					err = probe.Try((&targets{files: read}).check(c))
				}
				if at := c.Position; err != nil && !reported[at] { // one check of many servers is one error
					reported[at] = true
					errs = append(errs, fmt.Errorf("%s:%d:%d: virtual_service %s: %w", next.File, c.Line, c.Col, svc.Name, err))
				}
			}
		}
	}
	return func(_, _ *config.Config) (reload.Change, error) {
		if err := errors.Join(errs...); err != nil {
			return reload.Change{}, err
		}
		return reload.Change{Commit: func() {
			t.filesChanged = len(read.authorities)+len(read.pairs)+len(read.headers)+len(read.passwords)+
				len(t.files.authorities)+len(t.files.pairs)+len(t.files.headers)+len(t.files.passwords) > 0
			t.files = read
		}}, nil
	}
}

// addPassword reads a password_file or secret_file that was not read yet. The password is
// the first line, and the file has no other.
func (f files) addPassword(key, file string) error {
	if _, done := f.passwords[file]; done || file == "" {
		return nil
	}
	text, err := disk.Read(file, passwordLimit)
	if err != nil {
		return fmt.Errorf("failed to read %s: %w", key, err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return fmt.Errorf("%s %s must contain exactly one line", key, file)
	}
	f.passwords[file] = password
	return nil
}

// passwordLimit bounds the size of a password_file, in bytes.
const passwordLimit = 1 << 10

// add reads the certificates that were not read yet.
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

// certificatesLimit bounds the size of a file with keys or certificates: several times
// that of a distribution's list of authorities.
const certificatesLimit = 4 << 20

func readAuthorities(file string) (authorities, error) {
	text, err := disk.Read(file, certificatesLimit)
	if err != nil {
		return authorities{}, fmt.Errorf("failed to read ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return authorities{}, fmt.Errorf("ca_file %s contains no PEM certificate", file)
	}
	return authorities{pool: pool, hash: fmt.Sprintf("%x", sha256.Sum256(text))}, nil
}

func readPair(certFile, keyFile string) (pair, error) {
	cert, err := disk.Read(certFile, certificatesLimit)
	if err != nil {
		return pair{}, fmt.Errorf("failed to read cert_file: %w", err)
	}
	key, err := disk.Read(keyFile, certificatesLimit)
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
