package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
)

// webFiles makes a certificate with its key, and returns how a web_config_file
// names them, with the password of the user prometheus hashed.
func webFiles(t *testing.T) (folder, tlsPart, users string) {
	t.Helper()
	folder = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return folder, "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n", "basic_auth_users:\n  prometheus: " + string(hash) + "\n"
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMistakesInTheWebConfigFile: each has its place, and none shows a value.
func TestMistakesInTheWebConfigFile(t *testing.T) {
	folder, tlsPart, users := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	for _, c := range []struct{ text, want string }{
		{tlsPart + users, ""},
		{"", ""},
		{tlsPart + "  colour: blue\n", file + ":4: field colour not found"},
		{users + "  eve: hunter2hunter2\n", file + ":1: crypto/bcrypt: hashedSecret too short"},
		{"basic_auth_users: hunter2hunter2\n", file + ":1: cannot unmarshal !!str a value into map"},
		{"a: [\n", file + ":1: "},
		{"tls_server_config:\n  cert_file: cert.pem\n", file + ":1: missing one of key or key_file"},
		{"tls_server_config:\n  cert_file: cert.pem\n  key_file: none.pem\n", file + ":3: failed to read key_file"},
		{"tls_server_config:\n  key_file: key.pem\n  cert_file: key.pem\n", file + ":3: failed to load X509KeyPair"},
		{tlsPart + "  client_auth_type: Perhaps\n", file + ":4: invalid ClientAuth"},
		{tlsPart + "  min_version: TLS99\n", file + ":4: unknown TLS version"},
		{"http_server_config:\n  headers:\n    X-Mine: 1\n", `:2: HTTP header "X-Mine" can not be configured`},
	} {
		write(t, file, c.text)
		err := CheckWeb(file)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q:\n%v\nwant %s", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is disclosed: %v", err)
		}
	}
	if err := CheckWeb(filepath.Join(folder, "none.yml")); err == nil {
		t.Error("a file that is missing is good")
	}
	for _, path := range []string{"/dev/zero", folder} { // refused without waiting for it
		if err := CheckWeb(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// caller asks one public listener, as itself or as a user.
type caller struct {
	t    *testing.T
	s    *Server
	http http.Client
}

func newCaller(t *testing.T, s *Server) *caller {
	return &caller{t, s, http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
}

// get is the status of an answer, 0 where there is none.
func (c *caller) get(scheme, password string) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, scheme+"://"+c.s.public.Load().Addr().String()+"/healthz", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if password != "" {
		r.SetBasicAuth("prometheus", password)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// until waits for an answer.
func (c *caller) until(scheme, password string, want int) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); c.get(scheme, password) != want; <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("no answer %d by %s in time: %d", want, scheme, c.get(scheme, password))
		}
	}
}

// TestTLSAndAuthentication: on one port, which stays open, the file is added, changed,
// broken and removed.
func TestTLSAndAuthentication(t *testing.T) {
	folder, tlsPart, users := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	s := newServer(t, &stub{view: healthy()})
	reload := func(file string) error {
		next := configFor("127.0.0.1:0")
		next.Global.WebConfigFile = file
		change, err := s.ReadPublic(next)(nil, nil)
		if err == nil && change.Commit != nil {
			change.Commit()
		}
		return err
	}
	if err := reload(""); err != nil {
		t.Fatal(err)
	}
	call := newCaller(t, s)
	call.until("http", "", 200)
	port := s.public.Load().Addr().String()

	write(t, file, tlsPart+users)
	if err := reload(file); err != nil {
		t.Fatal(err)
	}
	call.until("https", "open sesame", 200)
	if now := s.public.Load().Addr().String(); now != port {
		t.Errorf("the port moved: %s, %s", port, now)
	}
	for _, c := range []struct {
		scheme, password string
		want             int
	}{{"https", "", 401}, {"https", "wrong", 401}, {"http", "open sesame", 400}} {
		if code := call.get(c.scheme, c.password); code != c.want {
			t.Errorf("%+v: %d", c, code)
		}
	}

	// Broken under the running daemon: no client is let in, and the status says so.
	write(t, file, tlsPart+users+"  eve: [\n")
	if code := call.get("https", "open sesame"); code == 200 {
		t.Error("a broken file lets callers in")
	}
	s.checkWebConfig()
	if p := s.Status(t.Context()).Problems; len(p) != 1 || !strings.Contains(p[0], "all HTTP requests are refused: web_config_file is invalid: "+file+":") {
		t.Errorf("problems: %q", p)
	}
	if err := reload(file); err == nil || !strings.Contains(err.Error(), "global.web_config_file: "+file+":") {
		t.Errorf("a reload with a broken file: %v", err)
	}
	write(t, file, tlsPart+users)
	call.until("https", "open sesame", 200)
	s.checkWebConfig()
	if p := s.Status(t.Context()).Problems; len(p) != 0 {
		t.Errorf("problems: %q", p)
	}

	// A renewed certificate is shown from the next connection on; one that cannot be used is
	// reported.
	renewed, _, _ := webFiles(t)
	for _, name := range []string{"key.pem", "cert.pem"} {
		text, err := os.ReadFile(filepath.Join(renewed, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), string(text))
	}
	c, err := tls.Dial("tcp", port, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(renewed, "cert.pem"))
	if block, _ := pem.Decode(text); err != nil || !bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, block.Bytes) {
		t.Errorf("after a renewal the old certificate is shown: %v", err)
	}
	c.Close()
	write(t, filepath.Join(folder, "cert.pem"), "garbage")
	s.checkWebConfig()
	if p := s.Status(t.Context()).Problems; len(p) != 1 || !strings.Contains(p[0], "web_config_file is invalid") {
		t.Errorf("problems with an unusable certificate: %q", p)
	}
	if err := reload(file); err == nil {
		t.Error("a reload with an unusable certificate is accepted")
	}
	write(t, filepath.Join(folder, "cert.pem"), string(text))
	s.checkWebConfig()
	call.until("https", "open sesame", 200)

	// TLS is removed, the users stay; then the file is removed.
	write(t, file, users)
	if err := reload(file); err != nil {
		t.Fatal(err)
	}
	call.until("http", "open sesame", 200)
	if code := call.get("http", ""); code != 401 {
		t.Errorf("without a password: %d", code)
	}
	if err := reload(""); err != nil {
		t.Fatal(err)
	}
	call.until("http", "", 200)
}

// TestAStartWithABrokenWebConfigFile: the daemon runs, refuses all requests, reports
// that, and serves as soon as the file is valid.
func TestAStartWithABrokenWebConfigFile(t *testing.T) {
	folder, tlsPart, users := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	for name, broken := range map[string]func() error{
		"no YAML": func() error { return os.WriteFile(file, []byte("basic_auth_users: [\n"), 0o600) },
		"a FIFO":  func() error { return unix.Mkfifo(file, 0o600) },
	} {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
		s := newServer(t, &stub{view: healthy()})
		listen(t, s, file)
		s.checkWebConfig()
		if p := s.Status(t.Context()).Problems; len(p) != 1 || !strings.Contains(p[0], "all HTTP requests are refused") {
			t.Errorf("%s: problems: %q", name, p)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		write(t, file, tlsPart+users)
		newCaller(t, s).until("https", "open sesame", 200)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// lines receives what is logged, as long as there is room.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// TestAWebConfigFileThatIsBeingWritten: an empty file is valid and means neither TLS nor
// passwords. One that an editor has only just created must not be taken for that.
func TestAWebConfigFileThatIsBeingWritten(t *testing.T) {
	folder, tlsPart, users := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	write(t, file, "basic_auth_users: [\n")
	s := newServer(t, &stub{view: healthy()})
	reported := make(lines, 10)
	s.Log = slog.New(slog.NewTextHandler(reported, nil))
	listen(t, s, file)
	<-reported // the file was looked at
	call := newCaller(t, s)
	call.http.Timeout = 200 * time.Millisecond
	write(t, file, "")
	for end := time.Now().Add(controlCheckInterval + time.Second); time.Now().Before(end); { // the file is looked at once
		if code := call.get("http", ""); code == 200 {
			t.Fatal("a file that is being written lets callers in")
		}
	}
	write(t, file, tlsPart+users)
	call.http.Timeout = 10 * time.Second
	call.until("https", "open sesame", 200)
}

// TestThePort: what strangers reach reads, is packed where that is taken, and is
// one status for all who ask at once.
func TestThePort(t *testing.T) {
	asked := &viewed{stub: stub{view: healthy()}}
	s := newServer(t, &asked.stub)
	s.Daemon = asked
	h := s.publicHandler()
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		h.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/", "/api/v1/status", "/api/v1/charts", "/api/v1/events", "/healthz", "/metrics", "/control/v1/reload", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"} {
			if w := ask(method, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
	for path, want := range map[string]int{"/": 200, "/api/v1/charts?service=web": 200, "/control/v1/reload": 404, "/nothing": 404, "/index.html": 404} {
		if w := ask("GET", path); w.Code != want {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	if w := ask("HEAD", "/"); w.Code != 200 {
		t.Errorf("HEAD /: %d", w.Code)
	}
	asked.views = 0
	plain := ask("GET", "/api/v1/status").Body.String()
	for range 20 {
		ask("GET", "/api/v1/status")
	}
	if asked.views > 2 { // a busy machine may take longer than a status is kept
		t.Errorf("%d statuses were made for 21 who asked at once", asked.views)
	}
	many := healthy()
	for range 200 {
		many.Config.Services[0].RealServers = append(many.Config.Services[0].RealServers, many.Config.Services[0].RealServers[0])
		many.Decision.Services[0].Servers = append(many.Decision.Services[0].Servers, many.Decision.Services[0].Servers[0])
	}
	asked.view = many
	s.status.Expire()
	w := ask("GET", "/api/v1/status", "Accept-Encoding", "deflate, gzip;q=1.0")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("headers %v", w.Header())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var whole api.Status
	if err := json.Unmarshal(unpacked, &whole); err != nil || len(whole.Services[0].RealServers) != 201 {
		t.Errorf("%v: %d servers", err, len(whole.Services[0].RealServers))
	}
	if w := ask("GET", "/api/v1/status", "Accept-Encoding", "gzip;q=0"); w.Header().Get("Content-Encoding") != "" || !strings.HasPrefix(w.Body.String(), plain[:20]) {
		t.Errorf("not wanted and packed: %v", w.Header())
	}
}

// viewed counts how often the state is looked at.
type viewed struct {
	stub
	views int
}

func (c *viewed) View(ctx context.Context) director.View { c.views++; return c.stub.View(ctx) }

// TestWhoDoesNotRead: a stranger who asks for much and reads nothing loses the
// connection; a stream of events, which goes on for longer, does not.
func TestWhoDoesNotRead(t *testing.T) {
	s := newServer(t, &stub{view: healthy()})
	s.publicWrite = 200 * time.Millisecond
	written := make(chan error, 1)
	s.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 256 { // more than the kernel takes for a client that does not read
			if _, err := w.Write(block); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	})
	change, err := s.ReadPublic(configFor("127.0.0.1:0"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	address := s.public.Load().Addr().String()
	newCaller(t, s).until("http", "", 200)
	stream, err := http.Get("http://" + address + "/api/v1/events?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-written:
		if err == nil {
			t.Error("all of it was written to a client that does not read")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the connection is held for ever")
	}
	// That took longer than an answer may: the stream is there still.
	s.Events.Record(event.Event{Kind: event.KindDaemon, To: "running"})
	line, err := bufio.NewReader(stream.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"to":"running"`) {
		t.Errorf("the stream: %q, %v", line, err)
	}
}

// TestBodiesThatAreNotSent: clients that announce a body and do not send it lose their
// connections, also without a password; a stream of events, which goes on for longer,
// does not.
func TestBodiesThatAreNotSent(t *testing.T) {
	folder, _, users := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	write(t, file, users)
	for _, c := range []struct{ file, password string }{{"", ""}, {file, "open sesame"}} {
		s := newServer(t, &stub{view: healthy()})
		s.publicRead = 200 * time.Millisecond
		listen(t, s, c.file)
		address := s.public.Load().Addr().String()
		call := newCaller(t, s)
		call.until("http", c.password, 200)
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/api/v1/events?follow=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("prometheus", c.password)
		stream, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		for range publicConnections - 1 { // the stream has one
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		call.until("http", c.password, 200)
		s.Events.Record(event.Event{Kind: event.KindDaemon, To: "running"})
		line, err := bufio.NewReader(stream.Body).ReadString('\n')
		if err != nil || !strings.Contains(line, `"to":"running"`) {
			t.Errorf("the stream: %q, %v", line, err)
		}
	}
}
