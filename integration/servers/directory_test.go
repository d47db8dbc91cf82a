package servers_test

import (
	"strings"
	"testing"
)

// TestServersOpenLDAP: bind, an entry, StartTLS and LDAP over TLS.
func TestServersOpenLDAP(t *testing.T) {
	daemon := program(t, "/usr/sbin/slapd")
	add := program(t, "/usr/sbin/slapadd")
	s := newStand(t)
	s.certificate("")
	s.folder("db", "")
	conf := s.write("slapd.conf", `
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile DIR/pid
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
database mdb
suffix "dc=example,dc=org"
rootdn "cn=lvsd,dc=example,dc=org"
rootpw `+password+`
directory DIR/db
`)
	entry := s.write("entry.ldif", `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example
`)
	s.rs.MustRun(add, "-f", conf, "-l", entry)
	// Without -u it stays root; "none" logs what is not filtered by a level, as the default does.
	server := s.rs.Start(daemon, "-d", "none", "-f", conf, "-h", "ldap://"+s.rs.Addr().String()+" ldaps://"+s.rs.Addr().String())
	s.says(server, "slapd starting")
	const user = `user = "cn=lvsd,dc=example,dc=org"`
	tls := s.verified()
	up := []want{
		{389, `{ type = "ldap" }`, "ok: ", ""},
		{389, `{ type = "ldap", base = "dc=example,dc=org", expect = "^o: Example$" }`, "ok: ", ""},
		{389, `{ type = "ldap", ` + user + `, password_file = RIGHT, ` + tls + ` }`, "ok: ", ""},
		{636, `{ type = "ldaps", ` + user + `, password_file = RIGHT, ` + tls[len("tls = true, "):] + ` }`, "ok: ", ""},
	}
	// On a busy machine a bind may not have ended when a client has its result and
	// continues.
	for line := range strings.Lines(s.quiet(server.Output, up...)) {
		if !strings.Contains(line, "deferring operation") {
			t.Errorf("the probes are logged: %s", line)
		}
	}
	s.probes(
		want{389, `{ type = "ldap", tls = true }`, "tls in phase", "x509"},
		want{636, `{ type = "ldaps" }`, "tls in phase", "x509"},
		want{389, `{ type = "ldap", ` + user + `, password_file = WRONG }`, "status in phase", "invalid"},
		want{389, `{ type = "ldap", base = "dc=example,dc=com" }`, "in phase", ""},
		want{389, `{ type = "ldap", base = "dc=example,dc=org", expect = "^o: Other$" }`, "body in phase", "Example"},
		want{389, `{ type = "imap", timeout = "1s" }`, "timeout in phase", ""},
	)
	s.hung(server,
		want{389, `{ type = "ldap", timeout = "1s" }`, "timeout in phase", ""},
		want{636, `{ type = "ldaps", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersFreeRADIUS: Status-Server, and logins by PAP.
func TestServersFreeRADIUS(t *testing.T) {
	daemon := program(t, "/usr/sbin/freeradius")
	s := newStand(t)
	s.write("users", "lvsd Cleartext-Password := \""+password+"\"\n  Reply-Message := \"welcome\"\n")
	s.write("secret", password+"\n")
	s.write("radiusd.conf", `
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = DIR
logdir = DIR
run_dir = DIR
name = freeradius
pidfile = DIR/pid
security {
  status_server = yes
  reject_delay = 0
}
client lb {
  ipaddr = 10.90.0.12
  secret = `+password+`
}
modules {
  pap {
  }
  files {
    filename = DIR/users
  }
}
server default {
  listen {
    type = auth
    ipaddr = *
    port = 1812
  }
  listen {
    type = acct
    ipaddr = *
    port = 1813
  }
  authorize {
    files
    pap
  }
  authenticate {
    pap
  }
}
`)
	server := s.rs.Start(daemon, "-f", "-l", "stdout", "-d", s.dir)
	s.says(server, "Ready to process requests")
	secret := `secret_file = "` + s.right + `"`
	up := []want{
		{1812, `{ type = "radius", ` + secret + ` }`, "ok: ", "Access-Accept"},
		{1813, `{ type = "radius", ` + secret + ` }`, "ok: ", "Accounting-Response"},
		{1812, `{ type = "radius", ` + secret + `, user = "lvsd", password_file = RIGHT }`, "ok: ", "welcome"},
	}
	if log := s.quiet(server.Output, up...); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.probes(
		want{1812, `{ type = "radius", ` + secret + `, user = "lvsd", password_file = WRONG }`, "status in phase", "Access-Reject"},
		want{1812, `{ type = "radius", secret_file = WRONG, timeout = "1s" }`, "in phase", ""},
		want{1814, `{ type = "radius", ` + secret + `, timeout = "1s" }`, "refused in phase", ""},
	)
	s.hung(server, want{1812, `{ type = "radius", ` + secret + `, timeout = "1s" }`, "timeout in phase", ""})
}
