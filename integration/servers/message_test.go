package servers_test

import (
	"path/filepath"
	"strings"
	"testing"

	"lvsd/integration/lab"
)

// TestServersRabbitMQ: AMQP, by a user in a virtual host.
func TestServersRabbitMQ(t *testing.T) {
	daemon := program(t, "/usr/lib/rabbitmq/bin/rabbitmq-server")
	epmd := program(t, "/usr/bin/epmd")
	s := newStand(t)
	s.folder("home", "")
	names := s.rs.Start(epmd, "-address", "127.0.0.1") // else the server leaves one behind
	s.acceptsAt(names, "127.0.0.1:4369")
	s.write("rabbitmq.conf", `
listeners.tcp.default = 5672
loopback_users = none
default_user = lvsd
default_pass = `+password+`
log.console = true
log.console.level = info
log.file = false
`)
	server := s.rs.StartCommand(lab.Command{Args: []string{daemon}, Env: []string{
		"HOME=" + s.dir + "/home", "RABBITMQ_NODENAME=lvsd@localhost", "RABBITMQ_CONFIG_FILE=" + s.dir + "/rabbitmq.conf",
		"RABBITMQ_MNESIA_BASE=" + s.dir + "/mnesia", "RABBITMQ_LOG_BASE=" + s.dir + "/log", "RABBITMQ_ENABLED_PLUGINS_FILE=" + s.dir + "/plugins",
		"RABBITMQ_PID_FILE=" + s.dir + "/pid", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1"}})
	s.says(server, "Server startup complete")
	const user = `user = "lvsd"`
	log := s.quiet(server.Output,
		want{5672, `{ type = "amqp", ` + user + `, password_file = RIGHT }`, "ok: ", ""})
	s.never(log, `\[(warning|error)\]`)
	s.never(s.quiet(server.Output, want{5672, `{ type = "connect" }`, " ok\n", ""}), `\[(warning|error)\]`)
	s.noisy(server, "[warning]", want{5672, `{ type = "amqp" }`, "ok: ", ""}) // as lvsd check says
	s.probes(
		want{5672, `{ type = "amqp", ` + user + `, password_file = WRONG }`, "status in phase", "ACCESS_REFUSED"},
		want{5672, `{ type = "amqp", ` + user + `, password_file = RIGHT, database = "none" }`, "status in phase", "not found"},
		want{5672, `{ type = "redis", timeout = "2s" }`, "in phase", ""},
	)
	s.hung(server, want{5672, `{ type = "amqp", ` + user + `, password_file = RIGHT, timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersKamailio: SIP by UDP and TCP.
func TestServersKamailio(t *testing.T) {
	daemon := program(t, "/usr/sbin/kamailio")
	s := newStand(t)
	conf := `
debug = 2
log_stderror = yes
children = 1
tcp_children = 1
mpath = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
request_route {
	if (is_method("OPTIONS") && $rU == "busy") {
		sl_send_reply("503", "Overloaded");
		exit;
	}
	if (is_method("OPTIONS")) {
		sl_send_reply("200", "OK");
		exit;
	}
	sl_send_reply("405", "Method Not Allowed");
}
`
	address := s.rs.Addr().String() + ":5060"
	server := s.rs.Start(daemon, "-DD", "-E", "-f", s.write("kamailio.cfg", conf), "-Y", s.dir, "-m", "16", "-M", "4", "-l", "udp:"+address, "-l", "tcp:"+address)
	s.accepts(server, 5060)
	s.until(server, "the last line of its start", func() bool { return strings.Contains(server.Output(), "child_init()") })
	up := []want{
		{5060, `{ type = "sip" }`, "ok: ", "200 OK"},
		{5060, `{ type = "sip", tcp = true }`, "ok: ", "200 OK"},
		{5060, `{ type = "sip", user = "alice" }`, "ok: ", "200 OK"},
	}
	if log := s.quiet(server.Output, up...); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.probes(
		want{5060, `{ type = "sip", user = "busy" }`, "in phase", "503 Overloaded"},
		want{5061, `{ type = "sip" }`, "refused in phase", ""},
	)
	s.hung(server,
		want{5060, `{ type = "sip", timeout = "1s" }`, "timeout in phase", ""},
		want{5060, `{ type = "sip", tcp = true, timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersRTSP: Debian's server in Perl.
func TestServersRTSP(t *testing.T) {
	daemon := program(t, "/usr/bin/rtsp-server-perl")
	s := newStand(t)
	server := s.rs.Start(daemon, "--clientport", "554", "--loglevel", "3")
	s.accepts(server, 554)
	// "Broken pipe" is what it calls a client that closes.
	s.never(s.quiet(server.Output, want{554, `{ type = "rtsp" }`, "ok: ", "RTSP/1.0 200"}), "reset")
	s.probes(want{554, `{ type = "imap", timeout = "1s" }`, "in phase", ""})
	s.hung(server, want{554, `{ type = "rtsp", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersINN: the readers' part of INN, which has users and TLS.
func TestServersINN(t *testing.T) {
	daemon := program(t, "/usr/lib/news/bin/nnrpd", "bin/deps/usr/lib/news/bin/nnrpd")
	news := filepath.Dir(filepath.Dir(daemon))
	s := newStand(t)
	s.certificate("news")
	s.folder("run", "news")
	s.write("db/active", "local.test 0000000000 0000000001 y\n")
	s.write("storage.conf", "method tradspool {\n  class: 0\n  newsgroups: *\n}\n")
	s.write("passwd", "lvsd:"+s.rs.MustRun("openssl", "passwd", "-6", password))
	s.write("readers.conf", `
auth "users" {
	hosts: "*"
	auth: "ckpasswd -f DIR/passwd"
	default: "<guest>"
}
access "users" {
	users: "*"
	newsgroups: "*"
}
`)
	conf := s.write("inn.conf", `
mta: "/bin/true"
domain: example.org
fromhost: news.example.org
pathhost: news.example.org
runasuser: news
runasgroup: news
pathnews: `+news+`
patharticles: DIR/spool
pathdb: DIR/db
pathetc: DIR
pathlog: DIR/run
pathrun: DIR/run
pathspool: DIR/spool
pathtmp: DIR/run
nnrpdloadlimit: 0
ovmethod: tradindexed
hismethod: hisv6
tlscertfile: DIR/cert.pem
tlskeyfile: DIR/key.pem
tlscafile: DIR/cert.pem
tlscapath: DIR
`)
	environment := []string{"INNCONF=" + conf, "LD_LIBRARY_PATH=" + news}
	for _, name := range []string{"db", "spool", "spool/overview"} {
		s.chown(s.folder(name, "news"), "news")
	}
	s.rs.MustRun(append([]string{"env"}, append(environment, as("news", news+"/bin/makehistory", "-O", "-x")...)...)...)
	server := s.rs.StartCommand(lab.Command{Args: []string{daemon, "-D", "-f", "-p", "119"}, Env: environment})
	s.accepts(server, 119)
	up := []want{
		{119, `{ type = "nntp" }`, "ok: ", "200 "},
		{119, `{ type = "nntp", user = "lvsd", password_file = RIGHT }`, "ok: ", "281 "},
		{119, `{ type = "nntp", user = "lvsd", password_file = RIGHT, ` + s.verified() + ` }`, "ok: ", "281 "},
	}
	s.never(s.quiet(server.Output, up...), "error|fail|reset|broken")
	s.probes(
		want{119, `{ type = "nntp", user = "lvsd", password_file = WRONG }`, "status in phase", "481 "},
		want{119, `{ type = "pop3" }`, "status in phase", "200 "},
	)
	s.hung(server, want{119, `{ type = "nntp", timeout = "1s" }`, "timeout in phase", ""})
}
