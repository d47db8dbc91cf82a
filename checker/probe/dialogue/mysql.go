package dialogue

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"lvsd/checker/outcome"
)

// mysql logs in to MySQL or MariaDB, asks what is configured, and ends with COM_QUIT. A
// connection that is given up before the login counts as an error at the server, which
// blocks a host after max_connect_errors (100) of them in a row. Therefore one that cannot
// log in as configured ends with a login that the server refuses, which does not count.
//
// The protocol is that of the MySQL Internals Manual, "Client/Server Protocol".
type mysql struct {
	Settings
	expect expectation
}

var mysqlRole = sqlRole{"SELECT @@global.read_only", []string{"0", "OFF"}, []string{"1", "ON", "NO_LOCK", "NO_LOCK_NO_ADMIN"}} // the last two since MariaDB 12.0

func (m *mysql) Run(c *Conn) outcome.Outcome {
	p := &mysqlConn{Conn: c}
	version, err := p.logIn(&m.Settings)
	if err == nil && m.Role != "" {
		var row []string
		if row, err = p.query(mysqlRole.query); err == nil {
			err = mysqlRole.evaluate(cell(row), m.Role)
		}
	}
	if err == nil && m.Query != "" {
		var row []string
		if row, err = p.query(m.Query); err == nil {
			err = evaluateRow(row, &m.expect)
		}
	}
	if p.loggedIn {
		p.seq = 0
		c.Bye = p.send([]byte{1}) == nil // COM_QUIT
	}
	if err != nil {
		return outcomeOf(err)
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Printable(version, outcome.MaxDetail))
}

// cell returns the first column of a row.
func cell(row []string) string {
	if len(row) == 0 {
		return ""
	}
	return row[0]
}

// mysqlConn sends and receives packets.
type mysqlConn struct {
	*Conn
	seq      byte
	loggedIn bool
}

// receive reads one packet: 3 bytes of length, a sequence number, the payload, which
// must not be empty.
func (p *mysqlConn) receive() ([]byte, error) {
	var head [4]byte
	if n, err := io.ReadFull(p, head[:]); err != nil {
		if n > 0 {
			return nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(head[:n]))
		}
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size == 0 || size > maxMessage {
		return nil, failed(outcome.Protocol, "not a MySQL packet: %s", outcome.Quote(head[:]))
	}
	payload := make([]byte, size)
	if n, err := io.ReadFull(p, payload); err != nil {
		return nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(payload[:n]))
	}
	if head[3] != p.seq && payload[0] != 0xff { // an error may come before its turn
		return nil, failed(outcome.Protocol, "not a MySQL packet: %s", outcome.Quote(append(head[:], payload...)))
	}
	p.seq++
	return payload, nil
}

func (p *mysqlConn) send(payload []byte) error {
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), p.seq}
	p.seq++
	_, err := p.Write(append(head, payload...))
	return err
}

// refused returns the failure of an ERR packet: 0xff, a code, mostly "#" and a state of
// five characters, and a text.
func refused(packet []byte) error {
	if len(packet) < 3 {
		return failed(outcome.Protocol, "not an error packet: %s", outcome.Quote(packet))
	}
	text := packet[3:]
	if len(text) >= 6 && text[0] == '#' {
		text = text[6:]
	}
	return failed(outcome.Status, "%d %s", binary.LittleEndian.Uint16(packet[1:]), text)
}

// Capabilities (CLIENT_…).
const (
	mysqlLongPassword = 1 << 0
	mysqlWithDB       = 1 << 3
	mysqlProtocol41   = 1 << 9
	mysqlSSL          = 1 << 11
	mysqlTransactions = 1 << 13
	mysqlSecure       = 1 << 15
	mysqlPluginAuth   = 1 << 19
)

// greeting is the server's first packet (HandshakeV10).
type greeting struct {
	version      string
	capabilities uint32
	nonce        []byte // 20 bytes
	plugin       string
}

func parseGreeting(b []byte) (g greeting, err error) {
	invalid := failed(outcome.Protocol, "not a greeting of MySQL: %s", outcome.Quote(b))
	if b[0] == 0xff {
		return g, refused(b)
	}
	version, rest, ok := bytes.Cut(b[1:], []byte{0})
	// Thread, 8 bytes of nonce, filler, capabilities, character set, status,
	// capabilities, length of the nonce, 10 reserved.
	if b[0] != 10 || !ok || len(rest) < 31 {
		return g, invalid
	}
	g.version = string(version)
	g.capabilities = uint32(binary.LittleEndian.Uint16(rest[13:])) | uint32(binary.LittleEndian.Uint16(rest[18:]))<<16
	second := rest[31:]
	if g.capabilities&mysqlProtocol41 == 0 || g.capabilities&mysqlSecure == 0 || len(second) < 12 {
		return g, failed(outcome.Protocol, "MySQL %s is older than 4.1", g.version)
	}
	g.nonce = append(append(g.nonce, rest[4:12]...), second[:12]...)
	if g.plugin = "mysql_native_password"; g.capabilities&mysqlPluginAuth != 0 && len(second) > 13 {
		name, _, _ := bytes.Cut(second[13:], []byte{0})
		g.plugin = string(name)
	}
	return g, nil
}

// logIn completes the handshake, and returns the server's version.
func (p *mysqlConn) logIn(s *Settings) (version string, err error) {
	first, err := p.receive()
	if err != nil {
		return "", err
	}
	g, err := parseGreeting(first)
	if err != nil {
		return "", err
	}
	const wanted = mysqlLongPassword | mysqlProtocol41 | mysqlTransactions | mysqlSecure | mysqlPluginAuth
	flags := wanted & g.capabilities
	if s.Database != "" {
		flags |= mysqlWithDB
	}
	if s.TLS && g.capabilities&mysqlSSL == 0 {
		p.decline(anonymousLogin(mysqlHead(flags &^ mysqlWithDB)))
		return "", failed(outcome.Protocol, "the server does not offer TLS")
	}
	if s.TLS {
		flags |= mysqlSSL
		if err := p.send(mysqlHead(flags)); err != nil {
			return "", err
		}
		if out := p.StartTLS(); out.Reason != "" {
			if p.Secure {
				p.decline(anonymousLogin(mysqlHead(flags &^ mysqlWithDB)))
			}
			return "", &failure{out}
		}
	}
	head := mysqlHead(flags)
	plugin, reply := g.plugin, mysqlReply(g.plugin, s.Password, g.nonce)
	if reply == nil { // the server then names the plugin of the user
		plugin, reply = "mysql_native_password", mysqlReply("mysql_native_password", s.Password, g.nonce)
	}
	b := append(append(head, s.User...), 0)
	b = append(append(b, byte(len(reply))), reply...)
	if s.Database != "" {
		b = append(append(b, s.Database...), 0)
	}
	if flags&mysqlPluginAuth != 0 {
		b = append(append(b, plugin...), 0)
	}
	if err := p.send(b); err != nil {
		return "", err
	}
	return g.version, p.authenticate(s, plugin, g.nonce)
}

// mysqlHead returns the fields that a request for TLS and a login begin with.
func mysqlHead(flags uint32) []byte {
	head := binary.LittleEndian.AppendUint32(nil, flags)
	head = binary.LittleEndian.AppendUint32(head, maxMessage)
	head = append(head, 33) // utf8_general_ci, which all versions have
	return append(head, make([]byte, 23)...)
}

// anonymousLogin returns a login without a name and a password.
func anonymousLogin(head []byte) []byte { return append(head, 0, 0, 0) }

// decline ends a handshake in order: it sends a message that does not log in, and empty
// replies to what the server then asks for.
func (p *mysqlConn) decline(message []byte) {
	for range 3 {
		if p.send(message) != nil {
			return
		}
		b, err := p.receive()
		if err != nil || b[0] == 0xff {
			return
		}
		if p.loggedIn = b[0] == 0; p.loggedIn { // the server has a user without a name
			return
		}
		message = nil
	}
}

// authenticate reads what the server replies to a login, up to its result.
func (p *mysqlConn) authenticate(s *Settings, plugin string, nonce []byte) error {
	for range 4 { // a change of the plugin, a key, a result
		b, err := p.receive()
		if err != nil {
			return err
		}
		var reply []byte
		switch b[0] {
		case 0:
			p.loggedIn = true
			return nil
		case 0xff:
			return refused(b)
		case 0xfe: // AuthSwitchRequest
			name, data, _ := bytes.Cut(b[1:], []byte{0})
			if len(b) == 1 { // the request of servers older than 5.5
				name = []byte("mysql_old_password")
			}
			plugin, nonce = string(name), data[:min(len(data), 20)]
			if reply = mysqlReply(plugin, s.Password, nonce); reply == nil {
				p.decline(nil)
				return failed(outcome.Protocol, "the server requests a login by %s, which lvsd does not support: create the user with mysql_native_password or caching_sha2_password", outcome.Quote(name))
			}
			if len(nonce) < 20 {
				return failed(outcome.Protocol, "the server requests a login by %q without a nonce", plugin)
			}
			if err := p.send(reply); err != nil {
				return err
			}
			continue
		case 1: // AuthMoreData
			if reply, err = p.moreData(b[1:], s, plugin, nonce); err != nil {
				return err
			}
		default:
			return failed(outcome.Protocol, "not a reply to a login: %s", outcome.Quote(b))
		}
		if reply != nil {
			if err := p.send(reply); err != nil {
				return err
			}
		}
	}
	return failed(outcome.Protocol, "an endless login")
}

// moreData returns the reply to what caching_sha2_password asks for: nothing where the
// server knows the password's hash, else the password, encrypted.
func (p *mysqlConn) moreData(data []byte, s *Settings, plugin string, nonce []byte) ([]byte, error) {
	const fast, full, publicKey = 3, 4, 2
	switch {
	case plugin != sha2Plugin || len(data) == 0:
	case data[0] == fast && len(data) == 1:
		return nil, nil
	case data[0] == full && len(data) == 1 && p.Secure:
		return append([]byte(s.Password), 0), nil
	case data[0] == full && len(data) == 1:
		return []byte{publicKey}, nil
	case !p.Secure:
		block, _ := pem.Decode(data)
		if block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, isRSA := parsed.(*rsa.PublicKey)
		if err != nil || !isRSA {
			break
		}
		plain := append([]byte(s.Password), 0)
		for i := range plain {
			plain[i] ^= nonce[i%len(nonce)]
		}
		secret, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, key, plain, nil)
		if err != nil {
			return nil, failed(outcome.Protocol, "the server's key: %v", err)
		}
		return secret, nil
	}
	return nil, failed(outcome.Protocol, "not a reply to a login by %q: %s", plugin, outcome.Quote(data))
}

const sha2Plugin = "caching_sha2_password"

// mysqlReply returns the reply to a nonce, nil if the plugin is unknown. That of an empty
// password is empty.
func mysqlReply(plugin, password string, nonce []byte) []byte {
	switch {
	case plugin != "mysql_native_password" && plugin != sha2Plugin:
		return nil
	case password == "":
		return []byte{}
	case plugin == sha2Plugin:
		// SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce)
		one := sha256.Sum256([]byte(password))
		two := sha256.Sum256(one[:])
		mask := sha256.Sum256(append(two[:], nonce...))
		return xor(one[:], mask[:])
	}
	// SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))
	one := sha1.Sum([]byte(password))
	two := sha1.Sum(one[:])
	mask := sha1.Sum(append(bytes.Clone(nonce), two[:]...))
	return xor(one[:], mask[:])
}

func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// query runs a query by COM_QUERY, and returns the first row of its result, nil if it has
// none. All of the result is read, up to maxRows.
func (p *mysqlConn) query(text string) (first []string, err error) {
	p.seq = 0
	if err := p.send(append([]byte{3}, text...)); err != nil {
		return nil, err
	}
	b, err := p.receive()
	if err != nil {
		return nil, err
	}
	switch b[0] {
	case 0xff:
		return nil, refused(b)
	case 0: // OK: a statement without a result
		return nil, nil
	}
	columns, _, ok := lengthEncoded(b)
	if !ok || columns == 0 || columns > maxColumns {
		return nil, failed(outcome.Protocol, "not a result: %s", outcome.Quote(b))
	}
	// Definitions of the columns, EOF, rows, EOF.
	ends, rows := 0, 0
	for n := uint64(0); ends < 2; n++ {
		if b, err = p.receive(); err != nil {
			return nil, err
		}
		switch {
		case b[0] == 0xff:
			return nil, refused(b)
		case b[0] == 0xfe && len(b) < 9:
			ends++
		case ends == 1:
			if rows++; rows > maxRows {
				return nil, failed(outcome.Protocol, "the query returns more than %d rows", maxRows)
			}
			if first == nil {
				if first, ok = parseRow(b, columns); !ok {
					return nil, failed(outcome.Protocol, "not a row: %s", outcome.Quote(b))
				}
			}
		case n > maxColumns:
			return nil, failed(outcome.Protocol, "a result of more than %d columns", maxColumns)
		}
	}
	return first, nil
}

// The bounds of the result of a query.
const maxColumns, maxRows = 100, 1000

// lengthEncoded decodes an integer and returns what follows. 0xfb (NULL) is none.
func lengthEncoded(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	size := 0
	switch b[0] {
	case 0xfb, 0xff:
		return 0, nil, false
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	default:
		return uint64(b[0]), b[1:], true
	}
	if len(b) < 1+size {
		return 0, nil, false
	}
	for i := size; i > 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n, b[1+size:], true
}

// parseRow decodes the columns of a row; NULL is "NULL".
func parseRow(b []byte, columns uint64) (row []string, ok bool) {
	row = []string{}
	for range columns {
		if len(b) > 0 && b[0] == 0xfb {
			row, b = append(row, "NULL"), b[1:]
			continue
		}
		n, rest, ok := lengthEncoded(b)
		if !ok || n > uint64(len(rest)) {
			return nil, false
		}
		row, b = append(row, string(rest[:n])), rest[n:]
	}
	return row, true
}
