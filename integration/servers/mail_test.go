package servers_test

import "testing"

// TestServersDovecot: IMAP and POP3, with and without TLS.
func TestServersDovecot(t *testing.T) {
	daemon := program(t, "/usr/sbin/dovecot")
	s := newStand(t)
	s.certificate("")
	s.write("users", "lvsd:{PLAIN}"+password+":65534:65534::DIR/mail::\n")
	s.folder("mail", "nobody")
	server := s.rs.Start(daemon, "-F", "-c", s.write("dovecot.conf", `
base_dir = DIR/run
state_dir = DIR/state
protocols = imap pop3
listen = *
log_path = /dev/stderr
mail_location = maildir:DIR/mail
mail_max_userip_connections = 100
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
disable_plaintext_auth = no
auth_failure_delay = 0
service stats {
  client_limit = 1000
}
passdb {
  driver = passwd-file
  args = DIR/users
}
userdb {
  driver = passwd-file
  args = DIR/users
}
`))
	s.accepts(server, 143, 110, 993, 995)
	tls := s.verified()
	s.never(s.quiet(server.Output,
		want{143, `{ type = "imap" }`, "ok: ", "* OK"},
		want{110, `{ type = "pop3" }`, "ok: ", "+OK"}), `error|warning|failed|unexpected|reset`)
	up := []want{
		{143, `{ type = "imap", user = "lvsd", password_file = RIGHT }`, "ok: ", "a OK"},
		{143, `{ type = "imap", user = "lvsd", password_file = RIGHT, ` + tls + ` }`, "ok: ", "a OK"},
		{993, `{ type = "imaps", user = "lvsd", password_file = RIGHT, ` + tls[len("tls = true, "):] + ` }`, "ok: ", "a OK"},
		{110, `{ type = "pop3", user = "lvsd", password_file = RIGHT, ` + tls + ` }`, "ok: ", "+OK"},
		{995, `{ type = "pop3s", user = "lvsd", password_file = RIGHT, verify = false }`, "ok: ", "+OK"},
	}
	s.never(s.quiet(server.Output, up...), `error|warning|fail|aborted|no auth|unexpected|reset`)
	s.probes(
		want{143, `{ type = "imap", user = "lvsd", password_file = WRONG }`, "status in phase", "AUTHENTICATIONFAILED"},
		want{110, `{ type = "pop3", user = "lvsd", password_file = WRONG }`, "status in phase", "-ERR"},
		want{993, `{ type = "imaps", verify = true }`, "tls in phase", "x509"},
		want{110, `{ type = "imap" }`, "status in phase", "+OK"},
		want{993, `{ type = "imap", timeout = "1s" }`, "timeout in phase", ""},
	)
	for _, port := range []int{110, 143, 993, 995} { // as lvsd check says
		s.noisy(server, "Disconnected", want{port, `{ type = "connect" }`, " ok\n", ""})
	}
	s.hung(server,
		want{143, `{ type = "imap", timeout = "1s" }`, "timeout in phase", ""},
		want{995, `{ type = "pop3s", verify = false, timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersVsftpd: anonymous users, whose passwords are listed.
func TestServersVsftpd(t *testing.T) {
	daemon := program(t, "/usr/sbin/vsftpd")
	s := newStand(t)
	s.certificate("")
	s.folder("empty", "")
	s.write("root/readme", "a file\n")
	s.write("log", "")
	s.write("passwords", password+"\n")
	server := s.rs.Start(daemon, s.write("vsftpd.conf", `
listen=YES
background=NO
anonymous_enable=YES
secure_email_list_enable=YES
email_password_file=DIR/passwords
anon_root=DIR/root
secure_chroot_dir=DIR/empty
ftp_username=ftp
nopriv_user=nobody
seccomp_sandbox=NO
delay_failed_login=0
xferlog_enable=YES
dual_log_enable=YES
vsftpd_log_file=DIR/log
ssl_enable=YES
allow_anon_ssl=YES
force_local_logins_ssl=NO
force_local_data_ssl=NO
ssl_tlsv1=YES
ssl_ciphers=HIGH
rsa_cert_file=DIR/cert.pem
rsa_private_key_file=DIR/key.pem
`))
	s.accepts(server, 21)
	up := []want{
		{21, `{ type = "ftp" }`, "ok: ", "220 "},
		{21, `{ type = "ftp", user = "anonymous", password_file = RIGHT }`, "ok: ", "230 "},
		{21, `{ type = "ftp", user = "anonymous", password_file = RIGHT, ` + s.verified() + ` }`, "ok: ", "230 "},
	}
	s.never(s.quiet(s.file("log"), up...), `error|fail|debug|OOPS`)
	if log := s.quiet(s.file("log"), want{21, `{ type = "connect" }`, " ok\n", ""}); log != "" {
		t.Errorf("a connect is logged:\n%s", log)
	}
	s.probes(
		want{21, `{ type = "ftp", user = "anonymous", password_file = WRONG }`, "status in phase", "530 "},
		want{21, `{ type = "pop3" }`, "status in phase", "220 "},
	)
	s.hung(server, want{21, `{ type = "ftp", timeout = "1s" }`, "timeout in phase", ""})
}
