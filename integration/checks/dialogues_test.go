package checks_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// program returns the path of a Debian program that make deps installs.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if found, _ := filepath.Glob(name); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Fatalf("none of %v is there: make deps installs it", names)
	return ""
}

// waitPort waits until a server on rs accepts connections.
func waitPort(p *lvsdtest.Pair, rs *lab.Host, port string, server *lab.Process) {
	p.T.Helper()
	p.WaitUntil(2*time.Minute, "a server on port "+port, func() bool {
		if !server.Running() {
			p.T.Fatalf("%s ended:\n%s", server, server.Output())
		}
		ctx, cancel := context.WithTimeout(p.T.Context(), 5*time.Second)
		defer cancel()
		c, err := rs.Dial(ctx, "tcp", rs.Addr().String()+":"+port)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// wantProbes writes a configuration with these checks (port and check), one real server
// each, runs lvsd probe and wants each result: two texts in what it prints.
func wantProbes(p *lvsdtest.Pair, checks [][4]string) {
	p.T.Helper()
	rs, lb := p.Real[0], p.LB[0]
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = \"web\"\naddress = %q\nforward = \"nat\"\n", lvsdtest.VIPPort)
	for i, c := range checks {
		keys := fmt.Sprintf(`{ address = ":%s", interval = "20s",`, c[0])
		if !strings.Contains(c[1], "timeout") {
			keys += ` timeout = "20s",`
		}
		check := strings.Replace(c[1], "{", keys, 1)
		fmt.Fprintf(&b, "[[virtual_service.real_servers]]\naddress = \"%s:%d\"\ncheck = %s\n", rs.Addr(), 20000+i, check)
	}
	p.Services, p.ConfigFile = b.String(), ""
	p.WriteConfig()
	for i, c := range checks {
		server := fmt.Sprintf("%s:%d", rs.Addr(), 20000+i)
		ctx, cancel := context.WithTimeout(p.T.Context(), time.Minute)
		out, _ := lb.Run(ctx, lvsdtest.Binary(p.T), "probe", "-c", p.ConfigFile, "--director", "lb1", "web", server)
		cancel()
		if !strings.Contains(out, c[2]) || !strings.Contains(out, c[3]) {
			p.T.Errorf("%s: want %s, %s\n%s", c[1], c[2], c[3], out)
		}
		if strings.Contains(out, "Xq7Zt0") {
			p.T.Errorf("%s shows the password:\n%s", c[1], out)
		}
	}
}

// TestMariaDBDialogue: logins succeed and fail by their reasons, and of forty probes, half of
// them refused a login, none counts as an aborted connection, which would make the server
// block the director.
func TestMariaDBDialogue(t *testing.T) {
	install, daemon := program(t, "/usr/bin/mariadb-install-db"), program(t, "/usr/sbin/mariadbd")
	p := lvsdtest.NewPair(t, 1)
	rs := p.Real[0]
	data, err := os.MkdirTemp("/dev/shm", "mariadb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	small := []string{"--no-defaults", "--user=root", "--datadir=" + data, "--innodb-log-file-size=5M", "--innodb-buffer-pool-size=16M"}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := rs.Run(ctx, append([]string{install}, append(small, "--auth-root-authentication-method=normal", "--skip-test-db")...)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	init := p.WriteFile("init.sql", "CREATE USER IF NOT EXISTS 'lvsd'@'%';\nCREATE USER IF NOT EXISTS 'pw'@'%' IDENTIFIED BY 'Xq7Zt0';\n")
	server := rs.Start(append([]string{daemon}, append(small, "--socket="+data+"/s", "--pid-file="+data+"/pid", "--port=3306",
		"--max-connect-errors=5", "--init-file="+init)...)...)
	// A connection that says nothing is what must not be in the log.
	p.WaitUntil(2*time.Minute, "MariaDB to be ready", func() bool {
		if !server.Running() {
			p.T.Fatalf("%s ended:\n%s", server, server.Output())
		}
		return strings.Contains(server.Output(), "ready for connections")
	})
	right, wrong := p.WritePrivate("right", "Xq7Zt0\n"), p.WritePrivate("wrong", "no\n")
	var many [][4]string
	for range 20 {
		many = append(many,
			[4]string{"3306", `{ type = "mysql", user = "lvsd" }`, "ok: ", "MariaDB"},
			[4]string{"3306", fmt.Sprintf(`{ type = "mysql", user = "pw", password_file = %q }`, wrong), "status in phase", "1045 Access denied"})
	}
	wantProbes(p, append(many,
		[4]string{"3306", fmt.Sprintf(`{ type = "mysql", user = "pw", password_file = %q, role = "primary", query = "SELECT 41+1", expect = "^42$" }`, right), "ok: ", ""},
		[4]string{"3306", `{ type = "mysql", user = "lvsd", role = "replica" }`, "status in phase", "the server is a primary"},
	))
	if out := server.Output(); strings.Contains(out, "Aborted connection") || strings.Contains(out, "is blocked") {
		t.Errorf("the server's log:\n%s", server.Tail(20))
	}
	server.Stop()
	wantProbes(p, [][4]string{{"3306", `{ type = "mysql", user = "lvsd", timeout = "1s" }`, "timeout in phase", ""}})
	server.Cont()
}

// TestDialogueServers: Redis and memcached, as Debian has them: up, a wrong password, a
// wrong role, another protocol, and hung.
func TestDialogueServers(t *testing.T) {
	redis, memcached := program(t, "/usr/bin/redis-server"), program(t, "/usr/bin/memcached")
	p := lvsdtest.NewPair(t, 1)
	rs := p.Real[0]
	one := rs.Start(redis, "--port", "6379", "--save", "", "--dir", p.Dir(), "--protected-mode", "no", "--requirepass", "Xq7Zt0")
	two := rs.Start(memcached, "-u", "root", "-p", "11211")
	for port, server := range map[string]*lab.Process{"6379": one, "11211": two} {
		waitPort(p, rs, port, server)
	}
	right, wrong := p.WritePrivate("right", "Xq7Zt0\n"), p.WritePrivate("wrong", "no\n")
	wantProbes(p, [][4]string{
		{"6379", fmt.Sprintf(`{ type = "redis", password_file = %q, role = "primary" }`, right), "ok: ", "master"},
		{"6379", fmt.Sprintf(`{ type = "redis", password_file = %q, role = "replica" }`, right), "status in phase", "master"},
		{"6379", fmt.Sprintf(`{ type = "redis", password_file = %q }`, wrong), "status in phase", "WRONGPASS"},
		{"6379", `{ type = "redis" }`, "status in phase", "NOAUTH"},
		{"11211", `{ type = "memcached" }`, "ok: ", "VERSION"},
		{"11211", `{ type = "imap", timeout = "1s" }`, "timeout in phase", ""},
		{"6379", `{ type = "mysql", user = "lvsd", timeout = "1s" }`, "timeout in phase", ""},
		{"11211", `{ type = "redis" }`, "status in phase", "ERROR"},
	})
	one.Stop()
	wantProbes(p, [][4]string{{"6379", `{ type = "redis", timeout = "1s" }`, "timeout in phase", ""}})
	one.Cont()
}
