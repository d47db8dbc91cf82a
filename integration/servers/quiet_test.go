package servers_test

import (
	"os"
	"testing"
)

// The servers that have no dialogue of their own: which checks they notice, as docs/checks.md
// says.

// TestServersNginx: requests are in the access log, connections nowhere.
func TestServersNginx(t *testing.T) {
	daemon := program(t, "/usr/sbin/nginx")
	s := newStand(t)
	s.certificate("")
	s.write("access.log", "")
	server := s.rs.Start(daemon, "-c", s.write("nginx.conf", `
daemon off;
pid DIR/pid;
error_log stderr;
events {
}
http {
  access_log DIR/access.log;
  server {
    listen 80;
    listen 443 ssl;
    ssl_certificate DIR/cert.pem;
    ssl_certificate_key DIR/key.pem;
    location / {
      return 204;
    }
  }
}
`))
	s.accepts(server, 80, 443)
	connect := []want{{80, `{ type = "connect" }`, " ok\n", ""}, {443, `{ type = "connect" }`, " ok\n", ""}}
	if log := s.quiet(server.Output, connect...) + s.file("access.log")(); log != "" {
		t.Errorf("connections are logged:\n%s", log)
	}
	requests := []want{{80, `{ type = "http", status = "204" }`, "ok: ", "204"}, {443, `{ type = "https", status = "204", verify = false }`, "ok: ", "204"}}
	if log := s.quiet(server.Output, requests...); log != "" {
		t.Errorf("requests are logged as errors:\n%s", log)
	}
	s.hung(server,
		want{80, `{ type = "http", timeout = "1s" }`, "timeout in phase", ""},
		want{443, `{ type = "https", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersApache: as nginx.
func TestServersApache(t *testing.T) {
	daemon := program(t, "/usr/sbin/apache2")
	s := newStand(t)
	s.write("access.log", "")
	s.write("www/index.html", "ready\n")
	server := s.rs.Start(daemon, "-X", "-f", s.write("apache2.conf", `
ServerRoot DIR
ServerName server.example.org
User nobody
Group nogroup
PidFile DIR/pid
Mutex file:DIR default
Listen 80
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
DocumentRoot DIR/www
ErrorLog /dev/stderr
CustomLog DIR/access.log "%h %r %s"
`))
	s.accepts(server, 80)
	if log := s.quiet(server.Output, want{80, `{ type = "connect" }`, " ok\n", ""}) + s.file("access.log")(); log != "" {
		t.Errorf("connections are logged:\n%s", log)
	}
	if log := s.quiet(server.Output, want{80, `{ type = "http", expect = "^ready$" }`, "ok: ", "200"}); log != "" {
		t.Errorf("requests are logged as errors:\n%s", log)
	}
	s.hung(server, want{80, `{ type = "http", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersHAProxy: a connection without a request is logged, one to monitor-uri is not.
func TestServersHAProxy(t *testing.T) {
	daemon := program(t, "/usr/sbin/haproxy")
	s := newStand(t)
	server := s.rs.Start(daemon, "-db", "-f", s.write("haproxy.cfg", `
global
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend web
  bind *:80
  bind *:8080 accept-proxy
  monitor-uri /up
`))
	s.accepts(server, 80)
	s.says(server, "BADREQ") // of that connection
	up := []want{
		{80, `{ type = "http", path = "/up" }`, "ok: ", "200"},
		{8080, `{ type = "http", path = "/up", proxy_protocol = "v1" }`, "ok: ", "200"},
		{8080, `{ type = "http", path = "/up", proxy_protocol = "v2" }`, "ok: ", "200"},
	}
	if log := s.quiet(server.Output, up...); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.noisy(server, "BADREQ", want{80, `{ type = "connect" }`, " ok\n", ""})
	s.hung(server, want{80, `{ type = "http", path = "/up", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersOpenSSH: a connection that is reset at once is gone before it is looked at; any
// other is logged.
func TestServersOpenSSH(t *testing.T) {
	daemon := program(t, "/usr/sbin/sshd")
	s := newStand(t)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it drops its rights
		t.Fatal(err)
	}
	s.rs.MustRun("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.dir+"/key")
	server := s.rs.Start(daemon, "-D", "-e", "-f", s.write("sshd_config", "HostKey DIR/key\nPidFile DIR/pid\n"))
	s.says(server, "Server listening on 0.0.0.0")
	if log := s.quiet(server.Output, want{22, `{ type = "connect" }`, " ok\n", ""}); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.noisy(server, "Connection closed by 10.90.0.12", want{22, `{ type = "connect", close = "fin" }`, " ok\n", ""})
	s.noisy(server, "Connection reset by 10.90.0.12", want{22, `{ type = "tcp", expect = "^SSH-2" }`, "ok: ", ""})
	s.hung(server, want{22, `{ type = "tcp", expect = "^SSH-2", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersOpenSMTPD: a greeting leaves the lines of any client.
func TestServersOpenSMTPD(t *testing.T) {
	daemon := program(t, "/usr/sbin/smtpd")
	s := newStand(t)
	server := s.rs.Start(daemon, "-d", "-f", s.write("smtpd.conf", `
listen on 10.90.0.9 port 25
action "none" relay
match from local for any action "none"
`))
	s.accepts(server, 25)
	s.says(server, "disconnected") // of that connection
	s.never(s.quiet(server.Output, want{25, `{ type = "smtp" }`, "ok: ", "220 "}), "error|warn|fail|timeout|reset")
	if log := s.quiet(server.Output, want{25, `{ type = "syn" }`, " ok\n", ""}); log != "" {
		t.Errorf("a half-open connection is logged:\n%s", log)
	}
	s.noisy(server, "io-error: Connection reset by peer", want{25, `{ type = "connect" }`, " ok\n", ""}) // as lvsd check says
	s.probes(want{25, `{ type = "imap" }`, "status in phase", "220 "})
}
