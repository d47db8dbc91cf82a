// This file has TLS and basic authentication of http_listen by web_config_file, the
// format of Prometheus exporters. Their package does the work and reads the file for
// each connection and request; here are the checks at a reload and while the daemon
// runs. With an invalid file all requests are refused.

package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/trybind"

	"github.com/prometheus/exporter-toolkit/web"
)

// webLimit bounds the size of a web_config_file, in bytes.
const webLimit = 1 << 20

// CheckWeb returns every error in a web_config_file and the certificates that it
// names, with the line where that is known, and without the file's values, which are
// secrets.
func CheckWeb(file string) error {
	if file == "" {
		return nil
	}
	text, err := disk.Read(file, webLimit)
	if err != nil {
		return fmt.Errorf("failed to read web_config_file: %w", err)
	}
	// It reads the certificates too.
	if _, err = disk.Within(file, func() (struct{}, error) { return struct{}{}, web.Validate(file) }); err == nil {
		return nil
	}
	var all []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "yaml:"))
		if line == "" || line == "unmarshal errors:" {
			continue
		}
		line = quotedValue.ReplaceAllString(line, "a value")
		if m := yamlLine.FindStringSubmatch(line); m != nil {
			all = append(all, fmt.Errorf("%s:%s: %s", file, m[1], m[2]))
			continue
		}
		all = append(all, fmt.Errorf("%s%s: %s", file, lineOf(string(text), line), line))
	}
	return errors.Join(all...)
}

var (
	yamlLine = regexp.MustCompile(`^line ([0-9]+): (.*)$`)
	// quotedValue is how the parser quotes values of the file.
	quotedValue = regexp.MustCompile("`[^`]*`")
)

// certificateErrors maps words of an error message to the key at fault.
var certificateErrors = []struct{ words, key string }{
	{"missing one of cert", "tls_server_config"}, {"missing one of key", "tls_server_config"},
	{"key_file", "key_file"}, {"cert_file", "cert_file"}, {"X509KeyPair", "cert_file"}, {"ClientAuth", "client_auth_type"},
	{"client CA", "client_ca"}, {"bcrypt", "basic_auth_users"}, {"cipher", "cipher_suites"}, {"TLS version", "min_version"},
	{"curve", "curve_preferences"}, {"HTTP header", "headers"}, {"invalid value for", "headers"},
}

// lineOf is ":LINE" of the key of an error, empty where it is unknown.
func lineOf(text, mistake string) string {
	for _, b := range certificateErrors {
		if !strings.Contains(mistake, b.words) {
			continue
		}
		number := 0
		for line := range strings.Lines(text) {
			if number++; strings.HasPrefix(strings.TrimSpace(line), b.key) {
				return fmt.Sprintf(":%d", number)
			}
		}
	}
	return ""
}

// webOf is the digest of a web_config_file.
func webOf(file string) (digest [sha256.Size]byte) {
	if text, err := disk.Read(file, webLimit); err == nil {
		digest = sha256.Sum256(text)
	}
	return digest
}

// openPublic opens http_listen. Where the running listener has the same address the
// new one shares its queue of connections.
func (s *Server) openPublic(want string, old *listener) (net.Listener, error) {
	if s.bindOnly {
		return nil, trybind.TCP(want)
	}
	if old == nil || old.address != want || old.port == nil {
		return net.Listen("tcp", want)
	}
	f, err := old.port.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// answerPublic serves http_listen until it is closed. While web_config_file is invalid
// it refuses requests and retries.
func (s *Server) answerPublic(l *listener, h http.Handler) {
	file := l.web
	flags := &web.FlagConfig{WebConfigFile: &file}
	log := slog.New(asDebug{s.Log.Handler()})
	// One that was invalid, or is being written, must be the same at two looks: whether there
	// is TLS is decided here, and half a file, or an empty one, would mean none.
	var seen [sha256.Size]byte
	for settled := true; ; settled = webOf(file) == seen {
		seen = webOf(file)
		server := s.server(h)
		// Bound how long a client holds a connection that does not send the body it
		// announced, which is read before the reply is sent, or does not read.
		server.ReadTimeout = cmp.Or(s.publicRead, 10*time.Second)
		server.WriteTimeout = cmp.Or(s.publicWrite, 30*time.Second)
		server, ended := l.begin(server)
		if ended {
			return
		}
		// The library reads whatever the file is: first see that it is a small regular one.
		if settled && CheckWeb(file) == nil && errors.Is(web.Serve(l.Listener, server, flags, log), http.ErrServerClosed) {
			return
		}
		s.checkWebConfig()
		select {
		case <-l.ended:
			return
		case <-time.After(controlCheckInterval):
		}
	}
}

// checkWebConfig updates the status's problem about web_config_file, and logs changes.
func (s *Server) checkWebConfig() {
	l := s.public.Load()
	if l == nil {
		return
	}
	var text string
	if err := CheckWeb(l.web); err != nil && l.Listener != nil {
		text = "all HTTP requests are refused: web_config_file is invalid: " + firstLine(err.Error())
	}
	was := s.unanswered.Swap(&text)
	switch {
	case text == "" && was != nil && *was != "":
		s.Log.Info("web_config_file is valid again", "path", l.web)
	case text != "" && (was == nil || *was != text):
		s.Log.Error("refusing all HTTP requests: web_config_file is invalid", "reason", CheckWeb(l.web))
	}
}

// asDebug logs everything of a library at debug level: what matters is logged by lvsd,
// once.
type asDebug struct{ slog.Handler }

func (h asDebug) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h asDebug) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h asDebug) WithAttrs(a []slog.Attr) slog.Handler { return asDebug{h.Handler.WithAttrs(a)} }
func (h asDebug) WithGroup(name string) slog.Handler   { return asDebug{h.Handler.WithGroup(name)} }
