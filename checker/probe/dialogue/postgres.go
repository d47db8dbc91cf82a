package dialogue

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"lvsd/checker/outcome"
	"strconv"
	"strings"
)

// postgres begins a session of PostgreSQL, asks what is configured, and ends with
// Terminate. Without a password it is content when the server asks for one, as
// pg_isready is: a server that is starting, stopping or full replies with an error
// instead. The server does not log a client that goes away at that point, unless by a
// reset.
//
// The protocol is version 3.0 (PostgreSQL manual, "Frontend/Backend Protocol").
type postgres struct {
	Settings
	expect expectation
	nonce  func() string
	scram  scramCache
}

var postgresRole = sqlRole{"SELECT pg_is_in_recovery()", []string{"f"}, []string{"t"}}

func (p *postgres) Run(c *Conn) outcome.Outcome {
	s := &postgresConn{Conn: c}
	what, err := s.start(p)
	if err == nil && s.ready && p.Role != "" {
		var row []string
		if row, err = s.query(postgresRole.query); err == nil {
			err = postgresRole.evaluate(cell(row), p.Role)
		}
	}
	if err == nil && s.ready && p.Query != "" {
		var row []string
		if row, err = s.query(p.Query); err == nil {
			err = evaluateRow(row, &p.expect)
		}
	}
	if s.ready {
		c.Bye = s.send('X', nil) == nil // Terminate
	}
	if err != nil {
		return outcomeOf(err)
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Printable(what, outcome.MaxDetail))
}

// postgresConn sends and receives messages.
type postgresConn struct {
	*Conn
	ready   bool // the server waits for a query
	version string
}

// receive reads one message: a type, a length that includes itself, the body. Notices
// and reports of parameters are skipped.
func (c *postgresConn) receive() (kind byte, body []byte, err error) {
	for {
		var head [5]byte
		if n, err := io.ReadFull(c, head[:]); err != nil {
			if n > 0 {
				return 0, nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(head[:n]))
			}
			return 0, nil, err
		}
		size := int(int32(binary.BigEndian.Uint32(head[1:]))) - 4
		if head[0] < 'A' || size < 0 || size > maxMessage {
			return 0, nil, failed(outcome.Protocol, "not a PostgreSQL message: %s", outcome.Quote(head[:]))
		}
		body = make([]byte, size)
		if n, err := io.ReadFull(c, body); err != nil {
			return 0, nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(body[:n]))
		}
		switch head[0] {
		case 'E':
			return 0, nil, postgresError(body)
		case 'S':
			if name, value, _ := strings.Cut(string(body), "\x00"); name == "server_version" {
				c.version = strings.TrimSuffix(value, "\x00")
			}
		case 'N', 'K', 'v', 'A':
		default:
			return head[0], body, nil
		}
	}
}

// postgresError returns the failure of an ErrorResponse: fields of a letter and a text.
func postgresError(body []byte) error {
	fields := map[byte]string{}
	for f := range bytes.SplitSeq(body, []byte{0}) {
		if len(f) > 1 {
			fields[f[0]] = string(f[1:])
		}
	}
	return failed(outcome.Status, "%s %s: %s", cmp.Or(fields['V'], fields['S']), fields['C'], fields['M'])
}

// send sends a message. The type 0 is that of messages before the start, which have none.
func (c *postgresConn) send(kind byte, body []byte) error {
	var b []byte
	if kind != 0 {
		b = append(b, kind)
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(body)+4)), body...)
	_, err := c.Write(b)
	return err
}

// start begins a session, and returns what the server is.
func (c *postgresConn) start(p *postgres) (what string, err error) {
	if p.TLS {
		if err := c.askTLS(); err != nil {
			return "", err
		}
	}
	start := "\x00\x03\x00\x00user\x00" + p.User + "\x00"
	if p.Database != "" {
		start += "database\x00" + p.Database + "\x00"
	}
	if err := c.send(0, []byte(start+"application_name\x00lvsd\x00\x00")); err != nil {
		return "", err
	}
	for range 8 { // the messages of a login, and ReadyForQuery
		kind, body, err := c.receive()
		switch {
		case err != nil:
			return "", err
		case kind == 'Z':
			c.ready = true
			return "PostgreSQL " + c.version, nil
		case kind != 'R' || len(body) < 4:
			return "", failed(outcome.Protocol, "not a reply to a login: %s", outcome.Quote(append([]byte{kind}, body...)))
		}
		method, body := binary.BigEndian.Uint32(body), body[4:]
		if method == 0 {
			continue
		}
		if p.Password == "" && p.Role == "" && p.Query == "" {
			return "asks for a password", nil
		}
		if err := c.authenticate(p, method, body); err != nil {
			return "", err
		}
	}
	return "", failed(outcome.Protocol, "an endless login")
}

// askTLS asks for TLS (SSLRequest) and starts it. Exactly one byte is read before it, so
// that nothing that was inserted before the handshake is taken for a message.
func (c *postgresConn) askTLS() error {
	if err := c.send(0, []byte{4, 210, 22, 47}); err != nil {
		return err
	}
	var reply [1]byte
	if _, err := io.ReadFull(c, reply[:]); err != nil {
		return err
	}
	switch reply[0] {
	case 'S':
		if out := c.StartTLS(); out.Reason != "" {
			return &failure{out}
		}
		return nil
	case 'N':
		return failed(outcome.Protocol, "the server does not offer TLS")
	}
	return failed(outcome.Protocol, "not a reply to SSLRequest: %s", outcome.Quote(reply[:]))
}

// authenticate replies to a request for a password.
func (c *postgresConn) authenticate(p *postgres, method uint32, body []byte) error {
	const clearText, md5Password, sasl = 3, 5, 10
	switch {
	case method == clearText:
		return c.send('p', append([]byte(p.Password), 0))
	case method == md5Password && len(body) == 4:
		return c.send('p', append([]byte(postgresMD5(p.User, p.Password, body)), 0))
	case method == sasl && bytes.Contains(append([]byte{0}, body...), []byte("\x00SCRAM-SHA-256\x00")):
		return c.authenticateSCRAM(p)
	case method == sasl:
		return failed(outcome.Protocol, "the server requests a login by %s, not by SCRAM-SHA-256", outcome.Quote(body))
	}
	return failed(outcome.Protocol, "the server requests a login of type %d, which lvsd does not support: use scram-sha-256, md5 or password in pg_hba.conf", method)
}

// authenticateSCRAM logs in by SASL, up to the server's proof.
func (c *postgresConn) authenticateSCRAM(p *postgres) error {
	x := scram{cache: &p.scram, password: p.Password, nonce: p.nonce()} // the user is known from the start
	first := []byte(x.first())
	b := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
	if err := c.send('p', append(b, first...)); err != nil {
		return err
	}
	challenge, err := c.receiveSASL(11)
	if err != nil {
		return err
	}
	last, err := x.final(challenge)
	if err != nil {
		return failed(outcome.Protocol, "%v", err)
	}
	if err := c.send('p', []byte(last)); err != nil {
		return err
	}
	proof, err := c.receiveSASL(12)
	if err == nil && !x.verify(proof) {
		err = failed(outcome.Protocol, "the server's signature is invalid: it does not have the password")
	}
	return err
}

func (c *postgresConn) receiveSASL(method uint32) (string, error) {
	kind, body, err := c.receive()
	if err != nil {
		return "", err
	}
	if kind != 'R' || len(body) < 4 || binary.BigEndian.Uint32(body) != method {
		return "", failed(outcome.Protocol, "not a reply of SCRAM: %s", outcome.Quote(append([]byte{kind}, body...)))
	}
	return string(body[4:]), nil
}

// query runs a query, and returns the first row of its result, nil if it has none.
func (c *postgresConn) query(text string) (first []string, err error) {
	c.ready = false
	if err := c.send('Q', append([]byte(text), 0)); err != nil {
		return nil, err
	}
	var refusal error // the server is ready for another query after an error
	for rows := 0; ; {
		kind, body, err := c.receive()
		switch {
		case err != nil && refusal != nil:
			return nil, refusal
		case err != nil && outcomeOf(err).Reason == outcome.Status:
			refusal = err
		case err != nil:
			return nil, err
		case kind == 'Z':
			c.ready = true
			return first, refusal
		case kind == 'D':
			if rows++; rows > maxRows {
				return nil, failed(outcome.Protocol, "the query returns more than %d rows", maxRows)
			}
			if first == nil {
				var ok bool
				if first, ok = parseDataRow(body); !ok {
					return nil, failed(outcome.Protocol, "not a row: %s", outcome.Quote(body))
				}
			}
		case kind == 'T' || kind == 'C' || kind == 'I':
		default: // such as a COPY
			return nil, failed(outcome.Protocol, "not a reply to a query: %s", strconv.QuoteToASCII(string(kind)))
		}
	}
}

// parseDataRow decodes the columns of a row; NULL is "NULL".
func parseDataRow(b []byte) (row []string, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	columns := binary.BigEndian.Uint16(b)
	b, row = b[2:], []string{}
	for range columns {
		if len(b) < 4 {
			return nil, false
		}
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		switch {
		case size == -1:
			row = append(row, "NULL")
		case size < 0 || int(size) > len(b):
			return nil, false
		default:
			row, b = append(row, string(b[:size])), b[size:]
		}
	}
	return row, true
}
