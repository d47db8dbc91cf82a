package servers_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// password is that of the servers. Nothing may show it.
const password = "Xq7Zt0"

// stand is a director, which only probes, and the host of a real server.
type stand struct {
	*testing.T
	lab          *lab.Lab
	lb, rs       *lab.Host
	dir          string // for the server, which every user may enter
	right, wrong string // files with passwords
}

// want is a check on a port, with two texts that lvsd probe prints of it.
type want struct {
	port          int
	check         string // without address, interval and timeout; RIGHT and WRONG are files with passwords
	result, words string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	lab.RequireNamespaces(t)
	l := lab.New(t)
	lan := l.LAN("lan", "10.90.0.0/24")
	s := &stand{T: t, lab: l, lb: l.Host("lb1", lan, "10.90.0.12/24"), rs: l.Host("rs1", lan, "10.90.0.9/24")}
	s.rs.MustRun("ip", "link", "set", "lo", "up")
	// Unix sockets have short names, and servers give up root.
	var err error
	if s.dir, err = os.MkdirTemp("/tmp", "lvsd-servers-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.right, s.wrong = s.write("right", password+"\n"), s.write("wrong", "no\n")
	for _, file := range []string{s.right, s.wrong} {
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// program returns the path of a program that make deps-servers installs.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if !filepath.IsAbs(name) {
			name = lvsdtest.RepositoryFile(t, name)
		}
		if found, _ := filepath.Glob(name); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Fatalf("none of %v is there: make deps-servers installs it", names)
	return ""
}

// write writes a file that every user may read, in the folder of the server. DIR in the
// text is that folder.
func (s *stand) write(name, text string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o644); err != nil {
		s.Fatal(err)
	}
	return path
}

// folder makes a folder that belongs to a user, "" for root.
func (s *stand) folder(name, owner string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		s.Fatal(err)
	}
	s.chown(path, owner)
	return path
}

func (s *stand) chown(path, owner string) {
	s.Helper()
	if owner == "" {
		return
	}
	u, err := user.Lookup(owner)
	if err != nil {
		s.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		s.Fatal(err)
	}
}

// as returns a command of a user, in its own process.
func as(owner string, args ...string) []string {
	return append([]string{"setpriv", "--reuid", owner, "--regid", owner, "--init-groups", "--"}, args...)
}

// certificate makes a certificate and its key, in the files cert.pem and key.pem.
func (s *stand) certificate(owner string) {
	s.Helper()
	s.rs.MustRun("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-days", "2", "-subj", "/CN=server.example.org", "-addext", "subjectAltName=DNS:server.example.org",
		"-keyout", s.dir+"/key.pem", "-out", s.dir+"/cert.pem")
	if err := os.Chmod(s.dir+"/key.pem", 0o600); err != nil {
		s.Fatal(err)
	}
	s.chown(s.dir+"/key.pem", owner)
}

// verified are the keys of a check that verifies that certificate.
func (s *stand) verified() string {
	return fmt.Sprintf("tls = true, ca_file = %q, server_name = \"server.example.org\"", s.dir+"/cert.pem")
}

// accepts waits until the server accepts on its ports, without a connection from the director.
func (s *stand) accepts(server *lab.Process, ports ...int) {
	s.Helper()
	for _, port := range ports {
		s.acceptsAt(server, net.JoinHostPort(s.rs.Addr().String(), strconv.Itoa(port)))
	}
}

func (s *stand) acceptsAt(server *lab.Process, address string) {
	s.Helper()
	s.until(server, "a server at "+address, func() bool {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		c, err := s.rs.Dial(ctx, "tcp", address)
		return err == nil && c.Close() == nil
	})
}

// says waits until the server has written a text to its log.
func (s *stand) says(server *lab.Process, text string) {
	s.Helper()
	s.until(server, fmt.Sprintf("%q of the server", text), func() bool { return strings.Contains(server.Output(), text) })
}

func (s *stand) until(server *lab.Process, what string, cond func() bool) {
	s.Helper()
	s.lab.WaitUntil(time.Minute, what, func() bool {
		if !server.Running() {
			s.Fatalf("%s ended:\n%s", server, server.Output())
		}
		return cond()
	})
}

// probe runs the checks, one after the other, and returns what lvsd probe prints of each.
func (s *stand) probe(checks []want) []string {
	s.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[[director]]\nname = \"lb1\"\naddress = %q\n[[virtual_service]]\nname = \"s\"\naddress = \"10.90.0.88:80\"\nforward = \"nat\"\n", s.lb.Addr())
	for i, c := range checks {
		keys := fmt.Sprintf(`{ address = ":%d", interval = "20s",`, c.port)
		if !strings.Contains(c.check, "timeout") {
			keys += ` timeout = "10s",`
		}
		check := strings.NewReplacer("{", keys, "RIGHT", strconv.Quote(s.right), "WRONG", strconv.Quote(s.wrong)).Replace(c.check)
		fmt.Fprintf(&b, "[[virtual_service.real_servers]]\naddress = \"%s:%d\"\ncheck = %s\n", s.rs.Addr(), 20000+i, check)
	}
	file := s.write("lvsd.toml", b.String())
	var all []string
	for i := range checks {
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		out, _ := s.lb.Run(ctx, lvsdtest.Binary(s.T), "probe", "-c", file, "--director", "lb1", "s", fmt.Sprintf("%s:%d", s.rs.Addr(), 20000+i))
		cancel()
		all = append(all, out)
	}
	return all
}

// probes runs the checks and compares their results.
func (s *stand) probes(checks ...want) {
	s.Helper()
	for i, out := range s.probe(checks) {
		c := checks[i]
		if !strings.Contains(out, c.result) || !strings.Contains(out, c.words) {
			s.Errorf("%s: want %s, %s\n%s", c.check, c.result, c.words, out)
		}
		if strings.Contains(out, password) {
			s.Errorf("%s shows the password:\n%s", c.check, out)
		}
	}
}

// quiet makes successful probes, and half-open connections to the same ports, and returns
// what the server writes meanwhile.
func (s *stand) quiet(logged func() string, checks ...want) string {
	s.Helper()
	const rounds = 3
	for _, c := range slices.Clone(checks) {
		if syn := (want{c.port, `{ type = "syn" }`, " ok\n", ""}); !strings.Contains(c.check, `"radius"`) && !slices.Contains(checks, syn) {
			checks = append(checks, syn)
		}
	}
	before := len(logged())
	for range rounds {
		s.probes(checks...)
	}
	return logged()[before:]
}

// noisy makes a successful probe, of which the server writes a text to its log.
func (s *stand) noisy(server *lab.Process, text string, check want) {
	s.Helper()
	before := len(server.Output())
	s.probes(check)
	s.until(server, fmt.Sprintf("%q of the server after %s", text, check.check), func() bool { return strings.Contains(server.Output()[before:], text) })
}

// file returns what is in a log of the server.
func (s *stand) file(name string) func() string {
	return func() string {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			s.Error(err)
		}
		return string(text)
	}
}

// never fails the test where a server's log has what an expression matches.
func (s *stand) never(log, expression string) {
	s.Helper()
	if found := regexp.MustCompile(`(?i)` + expression).FindString(log); found != "" {
		s.Errorf("%q in the log:\n%s", found, log)
	}
}

// hung stops the server, which then accepts connections and sends nothing.
func (s *stand) hung(server *lab.Process, checks ...want) {
	s.Helper()
	server.Stop()
	defer server.Cont()
	s.probes(checks...)
}

// TestServersGarbage: a server of another protocol is down, at once if it sends something
// that cannot become a valid reply, at the deadline if it sends nothing more.
func TestServersGarbage(t *testing.T) {
	s := newStand(t)
	for port, words := range map[string]string{"7001": "\x00\xff\xfegarbage\r\n\r\n", "7002": "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "7003": strings.Repeat("\xff", 100000)} {
		l, err := s.rs.Listen("tcp", s.rs.Addr().String()+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					io.WriteString(c, words)
					c.SetReadDeadline(time.Now().Add(5 * time.Second))
					io.Copy(io.Discard, c)
				}()
			}
		}()
	}
	var checks []want
	for _, kind := range []string{"imap", "imaps", "pop3", "pop3s", "ftp", "nntp", "ldap", "ldaps", "redis", "memcached", "mysql", "postgres", "amqp", "rtsp"} {
		keys := `type = "` + kind + `", timeout = "2s"`
		if kind == "mysql" || kind == "postgres" {
			keys += `, user = "lvsd"`
		}
		for port := 7001; port <= 7003; port++ {
			checks = append(checks, want{port, "{ " + keys + " }", "in phase", ""})
		}
	}
	checks = append(checks, want{7001, `{ type = "sip", tcp = true, timeout = "2s" }`, "in phase", ""})
	s.probes(checks...)
}
