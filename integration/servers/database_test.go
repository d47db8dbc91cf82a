package servers_test

import (
	"os"
	"testing"
)

// TestServersPostgreSQL: a primary and a standby, each way to log in.
func TestServersPostgreSQL(t *testing.T) {
	initdb := program(t, "/usr/lib/postgresql/*/bin/initdb")
	daemon := program(t, "/usr/lib/postgresql/*/bin/postgres")
	s := newStand(t)
	s.certificate("postgres")
	data := s.folder("data", "postgres")
	s.rs.MustRun(as("postgres", initdb, "--no-sync", "--no-locale", "-E", "UTF8", "-D", data)...)
	s.write("hba.conf", `
local all all trust
host all md5 0.0.0.0/0 md5
host all plain 0.0.0.0/0 password
host all lvsd 0.0.0.0/0 scram-sha-256
`)
	s.write("ident.conf", "")
	s.write("postgresql.conf", `
data_directory = 'DIR/data'
hba_file = 'DIR/hba.conf'
ident_file = 'DIR/ident.conf'
listen_addresses = '*'
unix_socket_directories = 'DIR/data'
fsync = off
shared_buffers = 16MB
ssl = on
ssl_cert_file = 'DIR/cert.pem'
ssl_key_file = 'DIR/key.pem'
log_connections = off
`)
	sql := s.write("users.sql", `
SET password_encryption = 'scram-sha-256';
CREATE ROLE lvsd LOGIN PASSWORD '`+password+`';
CREATE ROLE plain LOGIN PASSWORD '`+password+`';
SET password_encryption = 'md5';
CREATE ROLE md5 LOGIN PASSWORD '`+password+`';
`)
	start := as("postgres", daemon, "-c", "config_file="+s.dir+"/postgresql.conf")
	server := s.rs.Start(start...)
	s.says(server, "ready to accept connections")
	s.rs.MustRun(as("postgres", "psql", "-h", data, "-d", "postgres", "-q", "-f", sql)...)
	tls := s.verified()
	up := []want{
		{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, role = "primary" }`, "ok: ", ""},
		{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, ` + tls + ` }`, "ok: ", ""},
		{5432, `{ type = "postgres", user = "md5", database = "postgres", password_file = RIGHT, query = "SELECT 41+1", expect = "^42$" }`, "ok: ", ""},
		{5432, `{ type = "postgres", user = "plain", database = "postgres", password_file = RIGHT, ` + tls + ` }`, "ok: ", ""},
	}
	if log := s.quiet(server.Output, up...); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	if log := s.quiet(server.Output, want{5432, `{ type = "postgres", user = "lvsd", tls = true }`, "tls in phase", "x509"}); log != "" {
		t.Errorf("a certificate that is not trusted is logged:\n%s", log)
	}
	connect := want{5432, `{ type = "connect", close = "fin" }`, " ok\n", ""}
	if log := s.quiet(server.Output, connect); log != "" {
		t.Errorf("a connect with close = \"fin\" is logged:\n%s", log)
	}
	s.noisy(server, "reset by peer", want{5432, `{ type = "connect" }`, " ok\n", ""}) // as lvsd check says
	s.probes(
		want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = WRONG }`, "status in phase", "password authentication failed"},
		want{5432, `{ type = "postgres", user = "md5", database = "postgres", password_file = WRONG }`, "status in phase", "password authentication failed"},
		want{5432, `{ type = "postgres", user = "lvsd", database = "none", password_file = RIGHT }`, "status in phase", "does not exist"},
		want{5432, `{ type = "postgres", user = "nobody", database = "postgres", password_file = RIGHT }`, "status in phase", "no pg_hba.conf entry"},
		want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, query = "SELECT 1/0" }`, "status in phase", "division by zero"},
		want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, role = "replica" }`, "status in phase", "the server is a primary"},
		want{5432, `{ type = "mysql", user = "lvsd", timeout = "1s" }`, "in phase", ""},
	)
	s.hung(server, want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, timeout = "1s" }`, "timeout in phase", ""})

	// The same server as a standby.
	server.Terminate()
	if err := server.Wait(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, server.Output())
	}
	if err := os.WriteFile(data+"/standby.signal", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.chown(data+"/standby.signal", "postgres")
	standby := s.rs.Start(start...)
	s.says(standby, "ready to accept read-only connections")
	s.probes(
		want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, role = "replica" }`, "ok: ", ""},
		want{5432, `{ type = "postgres", user = "lvsd", database = "postgres", password_file = RIGHT, role = "primary" }`, "status in phase", "the server is a replica"},
	)
}

// TestServersMariaDB: logins by reason and role, and no probe that counts as an error, of
// which three in a row block the director. The server counts those of hosts whose names it
// knows.
func TestServersMariaDB(t *testing.T) {
	install, daemon := program(t, "/usr/bin/mariadb-install-db"), program(t, "/usr/sbin/mariadbd")
	s := newStand(t)
	s.certificate("")
	data := s.folder("data", "")
	small := []string{"--no-defaults", "--user=root", "--datadir=" + data, "--innodb-log-file-size=5M", "--innodb-buffer-pool-size=16M"}
	s.rs.MustRun(append([]string{install}, append(small, "--auth-root-authentication-method=normal", "--skip-test-db")...)...)
	sql := s.write("init.sql", "CREATE USER IF NOT EXISTS 'lvsd'@'%';\nCREATE USER IF NOT EXISTS 'pw'@'%' IDENTIFIED BY '"+password+"';\n"+
		"CREATE USER IF NOT EXISTS 'old'@'%' IDENTIFIED VIA mysql_old_password USING '6f8c114b58f2ce9e';\nSET GLOBAL secure_auth=0;\nSET GLOBAL log_warnings=4;\n")
	hosts := s.write("hosts", s.lb.Addr().String()+" lb1.example.org\n")
	server := s.rs.Start(append([]string{"unshare", "--mount", "sh", "-c", "mount --bind " + hosts + ` /etc/hosts && exec "$@"`, "sh", daemon}, append(small, "--socket="+data+"/s", "--pid-file="+data+"/pid", "--port=3306",
		"--max-connect-errors=3", "--init-file="+sql, "--ssl-cert="+s.dir+"/cert.pem", "--ssl-key="+s.dir+"/key.pem")...)...)
	s.says(server, "Using PAUSE multiplier") // after "ready for connections"
	tls := s.verified()
	up := []want{
		{3306, `{ type = "mysql", user = "lvsd", role = "primary" }`, "ok: ", ""},
		{3306, `{ type = "mysql", user = "pw", password_file = RIGHT, query = "SELECT 41+1", expect = "^42$" }`, "ok: ", ""},
		{3306, `{ type = "mysql", user = "pw", password_file = RIGHT, ` + tls + ` }`, "ok: ", ""},
	}
	if log := s.quiet(server.Output, up...); log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.probes(
		want{3306, `{ type = "mysql", user = "pw", password_file = WRONG }`, "status in phase", "1045 Access denied"},
		want{3306, `{ type = "mysql", user = "lvsd", role = "replica" }`, "status in phase", "the server is a primary"},
		want{3306, `{ type = "mysql", user = "lvsd", database = "none" }`, "status in phase", ""},
	)
	s.hung(server, want{3306, `{ type = "mysql", user = "lvsd", timeout = "1s" }`, "timeout in phase", ""})
	for _, c := range []want{
		{3306, `{ type = "mysql", user = "pw", password_file = WRONG }`, "status in phase", "1045 Access denied"},
		{3306, `{ type = "mysql", user = "lvsd", tls = true }`, "tls in phase", "x509"},
		{3306, `{ type = "mysql", user = "old", password_file = RIGHT }`, "protocol in phase", "mysql_old_password"},
	} {
		s.probes(c, c, c, c, up[0])
	}
	greeting := want{3306, `{ type = "tcp", expect = "MariaDB" }`, " ok", ""}
	s.probes(greeting, greeting, greeting, want{3306, up[0].check, "status in phase", "1129 Host"}) // as lvsd check says
}

// TestServersRedis: a primary and a replica of it.
func TestServersRedis(t *testing.T) {
	daemon := program(t, "/usr/bin/redis-server")
	s := newStand(t)
	common := []string{daemon, "--save", "", "--dir", s.dir, "--protected-mode", "no", "--requirepass", password}
	primary := s.rs.Start(append(common, "--port", "6379")...)
	replica := s.rs.Start(append(common, "--port", "6380", "--masterauth", password, "--replicaof", "127.0.0.1", "6379")...)
	s.says(primary, "Ready to accept connections")
	s.says(replica, "Finished with success")
	log := s.quiet(func() string { return primary.Output() },
		want{6379, `{ type = "redis", password_file = RIGHT, role = "primary" }`, "ok: ", "master"},
		want{6379, `{ type = "redis", user = "default", password_file = RIGHT, database = "3" }`, "ok: ", "+OK"})
	if log != "" {
		t.Errorf("the probes are logged:\n%s", log)
	}
	s.probes(
		want{6380, `{ type = "redis", password_file = RIGHT, role = "replica" }`, "ok: ", "slave"},
		want{6380, `{ type = "redis", password_file = RIGHT, role = "primary" }`, "status in phase", "slave"},
		want{6379, `{ type = "redis", password_file = RIGHT, role = "replica" }`, "status in phase", "master"},
		want{6379, `{ type = "redis", password_file = RIGHT, database = "99" }`, "status in phase", "out of range"},
		want{6379, `{ type = "redis", password_file = WRONG }`, "status in phase", "WRONGPASS"},
		want{6379, `{ type = "redis" }`, "status in phase", "NOAUTH"},
	)
	s.hung(primary, want{6379, `{ type = "redis", timeout = "1s" }`, "timeout in phase", ""})
}

// TestServersMemcached: with and without a login.
func TestServersMemcached(t *testing.T) {
	daemon := program(t, "/usr/bin/memcached")
	s := newStand(t)
	open := s.rs.Start(daemon, "-u", "root", "-p", "11211", "-vv")
	closed := s.rs.Start(daemon, "-u", "root", "-p", "11212", "-Y", s.write("users", "lvsd:"+password+"\n"))
	s.accepts(open, 11211)
	s.accepts(closed, 11212)
	s.never(s.quiet(open.Output, want{11211, `{ type = "memcached" }`, "ok: ", "VERSION"}), "ERROR|failed")
	s.probes(
		want{11212, `{ type = "memcached", user = "lvsd", password_file = RIGHT }`, "ok: ", "VERSION"},
		want{11212, `{ type = "memcached", user = "lvsd", password_file = WRONG }`, "status in phase", "authentication failure"},
		want{11212, `{ type = "memcached" }`, "status in phase", "unauthenticated"},
		want{11211, `{ type = "redis" }`, "status in phase", "ERROR"},
	)
	s.hung(open, want{11211, `{ type = "memcached", timeout = "1s" }`, "timeout in phase", ""})
}
