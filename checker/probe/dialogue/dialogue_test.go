package dialogue

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"lvsd/checker/outcome"
	"strings"
	"testing"
)

// scripted is a connection to a server that sends its replies one after the other,
// whatever it receives.
type scripted struct {
	replies [][]byte
	sent    bytes.Buffer
	bye     bool // the session asked the server to close
	upgrade int  // how much was sent before TLS
}

func (s *scripted) Read(b []byte) (int, error) {
	if len(s.replies) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.replies[0])
	if s.replies[0] = s.replies[0][n:]; len(s.replies[0]) == 0 {
		s.replies = s.replies[1:]
	}
	return n, nil
}

func (s *scripted) Write(b []byte) (int, error) { return s.sent.Write(b) }

// run makes a session with a scripted server.
func run(t *testing.T, name string, settings Settings, replies ...string) (outcome.Outcome, *scripted) {
	t.Helper()
	session, err := NewSession(name, settings)
	if err != nil || session == nil {
		t.Fatalf("%v, %v", session, err)
	}
	if p, ok := session.(*postgres); ok {
		p.nonce = func() string { return "rOprNGfwEbeRWgbNEkqO" }
	}
	s := &scripted{}
	for _, r := range replies {
		if r != "" {
			s.replies = append(s.replies, []byte(r))
		}
	}
	c := &Conn{ReadWriter: s}
	c.Upgrade = func() (io.ReadWriter, outcome.Outcome) { s.upgrade = s.sent.Len(); return s, outcome.Outcome{} }
	out := session.Run(c)
	s.bye = c.Bye
	if out.Detail != outcome.Printable(out.Detail, outcome.MaxDetail) {
		t.Errorf("the detail %q is not printable", out.Detail)
	}
	return out, s
}

// want compares an outcome.
func want(t *testing.T, out outcome.Outcome, reason outcome.Reason, detail string) {
	t.Helper()
	if out.Reason != reason || !strings.Contains(out.Detail, detail) {
		t.Errorf("got %s: %s\nwant %s: …%s…", out.Reason, out.Detail, reason, detail)
	}
}

// wantSent compares what was sent with text in which other bytes are hexadecimal, after
// a backslash.
func wantSent(t *testing.T, s *scripted, golden string) {
	t.Helper()
	if got := s.sent.String(); got != golden {
		t.Errorf("sent\n%s\nwant\n%s", hex.Dump([]byte(got)), hex.Dump([]byte(golden)))
	}
}

// packet is one of MySQL.
func packet(seq byte, payload string) string {
	return string([]byte{byte(len(payload)), byte(len(payload) >> 8), 0, seq}) + payload
}

const nonce = "\x46\x72\x5c\x5e\x01\x26\x0b\x74\x3f\x72\x17\x65\x7e\x67\x1a\x5f\x51\x11\x18\x15"

// mysqlGreeting offers what MariaDB 10.11 does.
func mysqlGreeting(plugin, nonce string) string {
	return packet(0, "\x0a5.5.5-10.11.6-MariaDB\x00\x1f\x00\x00\x00"+nonce[:8]+"\x00\xfe\xff\x2d\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00"+nonce[8:]+"\x00"+plugin+"\x00")
}

const (
	mysqlOK     = "\x00\x00\x00\x02\x00\x00\x00"
	mysqlDenied = "\xff\x15\x04#28000Access denied for user 'lvsd'@'10.77.0.11' (using password: YES)"
	native      = "\x35\xb1\x8c\x9f\xfb\xbd\x7f\x35\x6d\xfc\xac\x32\xd3\xc0\xf0\xa4\x1a\x30\xcf\x2d" // "secret" and nonce
	fileEnd     = "\xfe\x00\x00\x02\x00"
)

// mysqlResult is the reply to a query: one column, and rows.
func mysqlResult(rows ...string) string {
	text := packet(1, "\x01") + packet(2, "\x03def\x00\x00\x00\x01x\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x80\x00\x00\x00\x00") + packet(3, fileEnd)
	for i, r := range rows {
		text += packet(byte(4+i), string([]byte{byte(len(r))})+r)
	}
	return text + packet(byte(4+len(rows)), fileEnd)
}

func TestMySQL(t *testing.T) {
	login := Settings{User: "lvsd", Password: "secret"}
	greeting := mysqlGreeting("mysql_native_password", nonce)
	with := func(change func(*Settings)) Settings { s := login; change(&s); return s }
	primary := with(func(s *Settings) { s.Role = "primary" })
	for _, tt := range []struct {
		name     string
		settings Settings
		replies  []string
		reason   outcome.Reason
		detail   string
	}{
		{"up", login, []string{greeting, packet(2, mysqlOK)}, outcome.OK, "5.5.5-10.11.6-MariaDB"},
		{"wrong password", login, []string{greeting, packet(2, mysqlDenied)}, outcome.Status, "1045 Access denied for user 'lvsd'"},
		{"blocked", login, []string{packet(0, "\xff\x69\x04Host '10.77.0.11' is blocked")}, outcome.Status, "1129 Host '10.77.0.11' is blocked"},
		{"too many, out of turn", login, []string{packet(1, "\xff\x10\x04#08004Too many connections")}, outcome.Status, "1040 Too many connections"},
		{"garbage", login, []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, outcome.Protocol, "not a MySQL packet"},
		{"garbage of the right size", login, []string{packet(0, "\x09x\x00y")}, outcome.Protocol, "not a greeting of MySQL"},
		{"closed", login, nil, outcome.Closed, "no answer"},
		{"half a greeting", login, []string{greeting[:20]}, outcome.Closed, "5.5.5"},
		{"another plugin", login, []string{greeting, packet(2, "\xfeclient_ed25519\x00"+strings.Repeat("n", 32))}, outcome.Protocol, "client_ed25519"},
		{"primary", primary, []string{greeting, packet(2, mysqlOK), mysqlResult("0")}, outcome.OK, ""},
		{"a replica", primary, []string{greeting, packet(2, mysqlOK), mysqlResult("1")}, outcome.Status, "the server is a replica"},
		{"a role in words", primary, []string{greeting, packet(2, mysqlOK), mysqlResult("OFF")}, outcome.OK, ""},
		{"a role of MariaDB 12", with(func(s *Settings) { s.Role = "replica" }), []string{greeting, packet(2, mysqlOK), mysqlResult("NO_LOCK_NO_ADMIN")}, outcome.OK, ""},
		{"no role", primary, []string{greeting, packet(2, mysqlOK), mysqlResult()}, outcome.Protocol, "read_only"},
		{"a query without a row", with(func(s *Settings) { s.Query = "SELECT 1" }), []string{greeting, packet(2, mysqlOK), mysqlResult()}, outcome.Body, "no row"},
		{"a row", with(func(s *Settings) { s.Query, s.Expect = "SELECT 1", "^[1-9]" }), []string{greeting, packet(2, mysqlOK), mysqlResult("17", "x")}, outcome.OK, ""},
		{"another row", with(func(s *Settings) { s.Query, s.Expect = "SELECT 1", "^[1-9]" }), []string{greeting, packet(2, mysqlOK), mysqlResult("0")}, outcome.Body, `"0"`},
		{"a row that must not be", with(func(s *Settings) { s.Query, s.ExpectNot = "SELECT 1", "^0" }), []string{greeting, packet(2, mysqlOK), mysqlResult("0")}, outcome.Body, `"0"`},
		{"a row without it", with(func(s *Settings) { s.Query, s.ExpectNot = "SELECT 1", "^0" }), []string{greeting, packet(2, mysqlOK), mysqlResult("17")}, outcome.OK, ""},
		{"no such table", with(func(s *Settings) { s.Query = "SELECT 1" }), []string{greeting, packet(2, mysqlOK), packet(1, "\xff\x7a\x04#42S02Table 'a.b' doesn't exist")}, outcome.Status, "1146 Table"},
		{"no TLS", with(func(s *Settings) { s.TLS = true }), []string{strings.Replace(greeting, "\xfe\xff", "\xfe\xf7", 1)}, outcome.Protocol, "does not offer TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := run(t, "mysql", tt.settings, tt.replies...)
			want(t, out, tt.reason, tt.detail)
		})
	}
}

// TestMySQLGolden: the bytes of a login and of a query, to the last.
func TestMySQLGolden(t *testing.T) {
	_, s := run(t, "mysql", Settings{User: "lvsd", Password: "secret", Database: "shop", Role: "primary"},
		mysqlGreeting("mysql_native_password", nonce), packet(2, mysqlOK), mysqlResult("0"))
	wantSent(t, s, packet(1, "\x08\xa2\x08\x00\x00\x00\x01\x00\x21"+strings.Repeat("\x00", 23)+"lvsd\x00\x14"+native+"shop\x00mysql_native_password\x00")+
		packet(0, "\x03SELECT @@global.read_only")+packet(0, "\x01"))
	// No password, and the server's plugin is one that only the user could have.
	_, s = run(t, "mysql", Settings{User: "lvsd"}, mysqlGreeting("unix_socket", nonce), packet(2, mysqlOK))
	wantSent(t, s, packet(1, "\x00\xa2\x08\x00\x00\x00\x01\x00\x21"+strings.Repeat("\x00", 23)+"lvsd\x00\x00mysql_native_password\x00")+packet(0, "\x01"))
	// After a refusal nothing more is sent.
	_, s = run(t, "mysql", Settings{User: "lvsd"}, mysqlGreeting("mysql_native_password", nonce), packet(2, mysqlDenied))
	if strings.HasSuffix(s.sent.String(), packet(0, "\x01")) {
		t.Error("COM_QUIT without a login")
	}
}

// TestMySQLDeclines: a login that cannot go on is ended by one that the server refuses, since
// it counts a handshake that is broken off.
func TestMySQLDeclines(t *testing.T) {
	greeting := mysqlGreeting("mysql_native_password", nonce)
	untrusted := outcome.NewOutcome(outcome.TLS, outcome.PhaseTLS, "x509")
	head := func(flags string) string { return flags + "\x00\x00\x01\x00\x21" + strings.Repeat("\x00", 23) }
	refused := packet(2, mysqlDenied)
	for _, tt := range []struct {
		name    string
		tls     bool
		upgrade outcome.Outcome
		replies []string
		reason  outcome.Reason
		detail  string
		sent    string // at the end
		bye     bool
	}{
		{"no TLS", true, untrusted, []string{strings.Replace(greeting, "\xfe\xff\x2d", "\xfe\xf7\x2d", 1), refused}, outcome.Protocol, "does not offer TLS",
			packet(1, head("\x00\xa2\x08\x00")+"\x00\x00\x00"), false},
		{"a certificate that is not trusted", true, untrusted, []string{greeting, packet(3, mysqlDenied)}, outcome.TLS, "x509",
			packet(2, head("\x00\xaa\x08\x00")+"\x00\x00\x00"), false},
		{"a server that lets anybody in", true, untrusted, []string{greeting, packet(3, mysqlOK)}, outcome.TLS, "x509", packet(0, "\x01"), true},
		{"a server that asks again", true, untrusted, []string{greeting, packet(3, "\xfe"+sha2Plugin+"\x00"+nonce+"\x00"), packet(5, mysqlDenied)}, outcome.TLS, "x509",
			packet(4, ""), false},
		{"another plugin", false, untrusted, []string{greeting, packet(2, "\xfeclient_ed25519\x00"+nonce), packet(4, mysqlDenied)}, outcome.Protocol, "client_ed25519", packet(3, ""), false},
		{"an old plugin", false, untrusted, []string{greeting, packet(2, "\xfe"), packet(4, mysqlDenied)}, outcome.Protocol, "mysql_old_password", packet(3, ""), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			session, err := NewSession("mysql", Settings{User: "lvsd", Password: "secret", TLS: tt.tls, Database: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			s := &scripted{}
			for _, r := range tt.replies {
				s.replies = append(s.replies, []byte(r))
			}
			c := &Conn{ReadWriter: s, Upgrade: func() (io.ReadWriter, outcome.Outcome) { return s, tt.upgrade }}
			want(t, session.Run(c), tt.reason, tt.detail)
			if sent := s.sent.String(); !strings.HasSuffix(sent, tt.sent) || len(s.replies) > 0 || c.Bye != tt.bye {
				t.Errorf("%d replies are not read, bye %v, sent\n%s", len(s.replies), c.Bye, hex.Dump([]byte(sent)))
			}
			if tt.tls && strings.Contains(s.sent.String(), "lvsd") {
				t.Error("the user is sent")
			}
		})
	}
}

// TestMySQLPlugins: a change of the plugin, and the ways of caching_sha2_password.
func TestMySQLPlugins(t *testing.T) {
	login := Settings{User: "lvsd", Password: "secret"}
	sha2 := "\x5a\x69\x4a\x7e\x1e\x30\x25\x38\x03\x17\x73\x7f\x45\x16\x29\x54\x20\x7b\x2b\x76"
	reply := "\x66\x20\x05\x23\x8f\xa1\x8c\xf1\xab\xe8\x38\x8b\x2b\x0e\x6b\xc4\xf9\xaa\x93\x3c\xdc\xcc\x78\xb2\xd6\x0f\xb8\x96\x1a\x3d\x39\xeb" // "secret" and sha2
	greeting := mysqlGreeting(sha2Plugin, sha2)

	out, s := run(t, "mysql", login, greeting, packet(2, "\x01\x03"), packet(3, mysqlOK))
	want(t, out, outcome.OK, "")
	if sent := s.sent.String(); !strings.Contains(sent, "lvsd\x00\x20"+reply+sha2Plugin+"\x00") || !strings.HasSuffix(sent, packet(0, "\x01")) {
		t.Errorf("fast: %q", sent)
	}
	out, s = run(t, "mysql", login, mysqlGreeting("mysql_native_password", nonce), packet(2, "\xfe"+sha2Plugin+"\x00"+sha2+"\x00"), packet(4, "\x01\x03"), packet(5, mysqlOK))
	want(t, out, outcome.OK, "")
	if !strings.Contains(s.sent.String(), packet(3, reply)) {
		t.Errorf("switched: %q", s.sent.String())
	}
	secure := login
	secure.TLS = true
	out, s = run(t, "mysql", secure, greeting, packet(3, "\x01\x04"), packet(5, mysqlOK))
	want(t, out, outcome.OK, "")
	if s.upgrade != 36 || !strings.Contains(s.sent.String(), packet(4, "secret\x00")) {
		t.Errorf("full, in TLS after %d bytes: %q", s.upgrade, s.sent.String())
	}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	out, s = run(t, "mysql", login, greeting, packet(2, "\x01\x04"), packet(4, "\x01"+public), packet(6, mysqlOK))
	want(t, out, outcome.OK, "")
	sent := strings.TrimSuffix(s.sent.String(), packet(0, "\x01"))
	if strings.Contains(sent, "secret") || !strings.Contains(sent, packet(3, "\x02")) {
		t.Errorf("full, by RSA: %q", sent)
	}
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, []byte(sent[len(sent)-256:]), nil)
	if err != nil || string(xor(plain, []byte(sha2)[:len(plain)])) != "secret\x00" {
		t.Errorf("%q, %v", plain, err)
	}
	out, _ = run(t, "mysql", login, greeting, packet(2, "\x01\x04"), packet(4, "\x01no key"))
	want(t, out, outcome.Protocol, "no key")
}

// message is one of PostgreSQL.
func message(kind, body string) string { return kind + postgresLength(body) + body }

func postgresLength(body string) string {
	n := len(body) + 4
	return string([]byte{0, 0, byte(n >> 8), byte(n)})
}

var (
	pgOK    = message("R", "\x00\x00\x00\x00") + message("S", "server_version\x0015.18\x00") + message("K", "\x00\x00\x00\x01\x00\x00\x00\x02") + pgReady
	pgReady = message("Z", "I")
	pgSASL  = message("R", "\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00")
)

func pgError(severity, code, text string) string {
	return message("E", "S"+severity+"\x00V"+severity+"\x00C"+code+"\x00M"+text+"\x00\x00")
}

func pgResult(rows ...string) string {
	text := message("T", "\x00\x01x\x00"+strings.Repeat("\x00", 18))
	for _, r := range rows {
		text += message("D", "\x00\x01\x00\x00\x00"+string([]byte{byte(len(r))})+r)
	}
	return text + message("C", "SELECT\x00") + pgReady
}

func TestPostgres(t *testing.T) {
	login := Settings{User: "lvsd", Password: "secret"}
	with := func(change func(*Settings)) Settings { s := login; change(&s); return s }
	primary := with(func(s *Settings) { s.Role = "primary" })
	query := with(func(s *Settings) { s.Query, s.Expect = "SELECT 1", "^1$" })
	for _, tt := range []struct {
		name     string
		settings Settings
		replies  []string
		reason   outcome.Reason
		detail   string
	}{
		{"trusted", login, []string{pgOK}, outcome.OK, "PostgreSQL 15.18"},
		{"md5", login, []string{message("R", "\x00\x00\x00\x05\x01\x02\x03\x04"), pgOK}, outcome.OK, ""},
		{"wrong password", login, []string{message("R", "\x00\x00\x00\x03"), pgError("FATAL", "28P01", "password authentication failed")}, outcome.Status, "FATAL 28P01: password authentication failed"},
		{"no password", Settings{User: "lvsd"}, []string{pgSASL}, outcome.OK, "asks for a password"},
		{"no password for a query", Settings{User: "lvsd", Query: "SELECT 1"}, []string{pgSASL, pgError("FATAL", "28P01", "x")}, outcome.Status, "28P01"},
		{"starting", login, []string{pgError("FATAL", "57P03", "the database system is starting up")}, outcome.Status, "57P03"},
		{"another method", login, []string{message("R", "\x00\x00\x00\x07")}, outcome.Protocol, "type 7"},
		{"garbage", login, []string{"HTTP/1.1 400 Bad Request\r\n"}, outcome.Protocol, "not a PostgreSQL message"},
		{"closed", login, nil, outcome.Closed, "no answer"},
		{"a login for ever", login, []string{strings.Repeat(message("R", "\x00\x00\x00\x03"), 20)}, outcome.Protocol, "endless login"},
		{"a row that must not be", with(func(s *Settings) { s.Query, s.ExpectNot = "SELECT 1", "lag" }), []string{pgOK, pgResult("lagging")}, outcome.Body, "lagging"},
		{"primary", primary, []string{pgOK, pgResult("f")}, outcome.OK, ""},
		{"a replica", primary, []string{pgOK, pgResult("t")}, outcome.Status, "the server is a replica"},
		{"a row", query, []string{pgOK, pgResult("1")}, outcome.OK, ""},
		{"another row", query, []string{pgOK, pgResult("2")}, outcome.Body, `"2"`},
		{"no row", query, []string{pgOK, pgResult()}, outcome.Body, "no row"},
		{"no such table", query, []string{pgOK, pgError("ERROR", "42P01", "no such table") + pgReady}, outcome.Status, "ERROR 42P01: no such table"},
		{"ended", query, []string{pgOK, pgError("FATAL", "57P01", "terminating")}, outcome.Status, "57P01"},
		{"a copy", query, []string{pgOK, message("H", "\x00\x00\x00")}, outcome.Protocol, `"H"`},
		{"no TLS", with(func(s *Settings) { s.TLS = true }), []string{"N"}, outcome.Protocol, "does not offer TLS"},
		{"old for TLS", with(func(s *Settings) { s.TLS = true }), []string{"E"}, outcome.Protocol, "SSLRequest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, s := run(t, "postgres", tt.settings, tt.replies...)
			want(t, out, tt.reason, tt.detail)
			if said := strings.HasSuffix(s.sent.String(), "X\x00\x00\x00\x04"); said != s.bye || tt.reason == outcome.OK && !said && out.Detail != "asks for a password" {
				t.Errorf("no end: %q", s.sent.String())
			}
		})
	}
}

func TestPostgresGolden(t *testing.T) {
	start := func(body string) string { return postgresLength(body) + body }
	const hello = "\x00\x03\x00\x00user\x00lvsd\x00application_name\x00lvsd\x00\x00"
	_, s := run(t, "postgres", Settings{User: "lvsd", Password: "secret", TLS: true}, "S", message("R", "\x00\x00\x00\x05\x01\x02\x03\x04"), pgOK)
	wantSent(t, s, "\x00\x00\x00\x08\x04\xd2\x16\x2f"+start(hello)+message("p", "md52ef21dc1862cba9eaa57e66f297042c7\x00")+message("X", ""))
	if s.upgrade != 8 {
		t.Errorf("TLS after %d bytes", s.upgrade)
	}
	_, s = run(t, "postgres", Settings{User: "lvsd", Database: "shop", Role: "replica"}, pgOK, pgResult("t"))
	wantSent(t, s, start("\x00\x03\x00\x00user\x00lvsd\x00database\x00shop\x00application_name\x00lvsd\x00\x00")+
		message("Q", "SELECT pg_is_in_recovery()\x00")+message("X", ""))

	// The client's part of a SCRAM login, and a server that cannot prove itself.
	challenge := message("R", "\x00\x00\x00\x0br=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	out, s := run(t, "postgres", Settings{User: "lvsd", Password: "pencil"}, pgSASL, challenge, message("R", "\x00\x00\x00\x0cv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), pgOK)
	want(t, out, outcome.Protocol, "signature is invalid") // that of RFC 7677 is for n=user
	if !strings.HasPrefix(s.sent.String(), start(hello)+message("p", "SCRAM-SHA-256\x00\x00\x00\x00\x1cn,,n=,r=rOprNGfwEbeRWgbNEkqO")+"p") {
		t.Errorf("%q", s.sent.String())
	}
	if got := strings.Count(s.sent.String(), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="); got != 1 {
		t.Errorf("%q", s.sent.String())
	}
	out, _ = run(t, "postgres", Settings{User: "lvsd", Password: "x"}, pgSASL, message("R", "\x00\x00\x00\x0br=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=99999999"))
	want(t, out, outcome.Protocol, "99999999 rounds")
	out, _ = run(t, "postgres", Settings{User: "lvsd", Password: "x"}, pgSASL, message("R", "\x00\x00\x00\x0br=other,s=AAAA,i=1"))
	want(t, out, outcome.Protocol, "not a challenge")
}

// TestSCRAM is the example of RFC 7677 §3.
func TestSCRAM(t *testing.T) {
	cache := scramCache{}
	for range 2 { // the second time by the cache
		x := scram{cache: &cache, user: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
		if got := x.first(); got != "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" {
			t.Error(got)
		}
		got, err := x.final("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
		if want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="; got != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		if !x.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") || x.verify("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") || x.verify("") {
			t.Error("the server's signature")
		}
	}
}

// TestLDAP has the bytes of OpenLDAP 2.5, and the long form of lengths that others use.
func TestLDAP(t *testing.T) {
	result := func(id byte, op byte, code byte, text string) string {
		body := "\x0a\x01" + string([]byte{code}) + "\x04\x00" + string(ber(berOctets, []byte(text)))
		return string(ber(berSequence, append([]byte{2, 1, id}, ber(op, []byte(body))...)))
	}
	entry := func(id byte) string {
		values := ber(0x31, append(ber(berOctets, []byte("Example")), ber(berOctets, []byte("Beispiel"))...))
		attributes := ber(berSequence, ber(berSequence, append(ber(berOctets, []byte("o")), values...)))
		body := append(ber(berOctets, []byte("dc=example,dc=com")), attributes...)
		return string(ber(berSequence, append([]byte{2, 1, id}, ber(ldapEntry, body)...)))
	}
	long := strings.Replace(result(1, ldapBound, 0, ""), "\x30\x0c", "\x30\x84\x00\x00\x00\x0c", 1)
	user := Settings{User: "cn=lvsd", Password: "secret"}
	base := Settings{Base: "dc=example,dc=com"}
	for _, tt := range []struct {
		name     string
		settings Settings
		replies  []string
		reason   outcome.Reason
		detail   string
	}{
		{"anonymous", Settings{}, []string{result(1, ldapBound, 0, "")}, outcome.OK, "bound"},
		{"long lengths", Settings{}, []string{long}, outcome.OK, "bound"},
		{"wrong password", user, []string{result(1, ldapBound, 49, "")}, outcome.Status, "invalidCredentials (49)"},
		{"not allowed", Settings{}, []string{result(1, ldapBound, 48, "anonymous bind disallowed")}, outcome.Status, "inappropriateAuthentication (48): anonymous bind disallowed"},
		{"an entry", base, []string{result(1, ldapBound, 0, ""), entry(2) + result(2, ldapDone, 0, "")}, outcome.OK, "dc=example"},
		{"no entry", base, []string{result(1, ldapBound, 0, ""), result(2, ldapDone, 32, "")}, outcome.Status, "noSuchObject (32)"},
		{"hidden", base, []string{result(1, ldapBound, 0, ""), result(2, ldapDone, 0, "")}, outcome.Body, "no entry"},
		{"an attribute", Settings{Base: base.Base, Expect: "(?m)^o: Beispiel$"}, []string{result(1, ldapBound, 0, ""), entry(2), result(2, ldapDone, 0, "")}, outcome.OK, ""},
		{"another attribute", Settings{Base: base.Base, Expect: "^ou:"}, []string{result(1, ldapBound, 0, ""), entry(2), result(2, ldapDone, 0, "")}, outcome.Body, "o: Example"},
		{"an attribute that must not be", Settings{Base: base.Base, ExpectNot: "^o: Beispiel$"}, []string{result(1, ldapBound, 0, ""), entry(2), result(2, ldapDone, 0, "")}, outcome.Body, "o: Example"},
		{"an entry without it", Settings{Base: base.Base, ExpectNot: "^ou:"}, []string{result(1, ldapBound, 0, ""), entry(2), result(2, ldapDone, 0, "")}, outcome.OK, ""},
		{"TLS", Settings{TLS: true}, []string{result(1, ldapExtReply, 0, ""), result(2, ldapBound, 0, "")}, outcome.OK, ""},
		{"no TLS", Settings{TLS: true}, []string{result(1, ldapExtReply, 2, "unsupported extended operation")}, outcome.Status, "protocolError (2): unsupported"},
		{"disconnected", Settings{}, []string{result(0, ldapExtReply, 52, "shutting down")}, outcome.Status, "unavailable (52): shutting down"},
		{"garbage", Settings{}, []string{"220 mail.example.org\r\n"}, outcome.Protocol, "not a message of LDAP"},
		{"garbage within", Settings{}, []string{"\x30\x05abcde"}, outcome.Protocol, "not a message of LDAP"},
		{"closed", Settings{}, nil, outcome.Closed, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, s := run(t, "ldap", tt.settings, tt.replies...)
			want(t, out, tt.reason, tt.detail)
			if tt.reason == outcome.OK && !strings.HasSuffix(s.sent.String(), "\x42\x00") {
				t.Errorf("no unbind: %q", s.sent.String())
			}
		})
	}
	_, s := run(t, "ldap", Settings{User: "cn=lvsd", Password: "secret", Base: "dc=x"}, result(1, ldapBound, 0, ""), entry(2)+result(2, ldapDone, 0, ""))
	wantSent(t, s, "\x30\x19\x02\x01\x01\x60\x14\x02\x01\x03\x04\x07cn=lvsd\x80\x06secret"+
		"\x30\x2e\x02\x01\x02\x63\x29\x04\x04dc=x\x0a\x01\x00\x0a\x01\x00\x02\x01\x01\x02\x01\x00\x01\x01\x00\x87\x0bobjectClass\x30\x05\x04\x031.1"+
		"\x30\x05\x02\x01\x03\x42\x00")
}

// FuzzSessions: whatever a server sends, a session ends, and what it shows is bounded and
// printable.
func FuzzSessions(f *testing.F) {
	f.Add([]byte(mysqlGreeting("mysql_native_password", nonce) + packet(2, mysqlOK) + mysqlResult("0")))
	f.Add([]byte(pgSASL + message("R", "\x00\x00\x00\x0br=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=1") + pgOK + pgResult("f")))
	f.Add([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"mysql", "postgres", "ldap"} {
			if bytes.Contains(b, []byte("i=")) && len(b) > 200 {
				continue // a count of rounds costs time
			}
			out, _ := run(t, name, Settings{User: "lvsd", Password: "secret", Role: "primary", Query: "x", Base: "x"}, string(b))
			if out.Reason == "" || len(out.Detail) > outcome.MaxDetail {
				t.Fatalf("%s: %+v", name, out)
			}
		}
	})
}
