package dialogue

import (
	"bytes"
	"fmt"
	"io"
	"lvsd/checker/outcome"
	"strings"
)

// ldap binds, reads one entry where that is configured, and unbinds (RFC 4511).
type ldap struct {
	Settings
	expect expectation
}

// Tags of BER (X.690), and of the operations of LDAP: application class, constructed.
const (
	berBoolean, berInteger, berOctets, berEnumerated, berSequence = 0x01, 0x02, 0x04, 0x0a, 0x30

	ldapBind, ldapBound        = 0x60, 0x61
	ldapUnbind                 = 0x42
	ldapSearch, ldapEntry      = 0x63, 0x64
	ldapDone, ldapReference    = 0x65, 0x73
	ldapExtended, ldapExtReply = 0x77, 0x78
)

func (l *ldap) Run(c *Conn) outcome.Outcome {
	s := &ldapConn{Conn: c}
	what, err := l.ask(s)
	out := outcomeOf(err)
	if err == nil {
		out = outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Printable(what, outcome.MaxDetail))
	}
	if s.replied { // also after a refusal
		s.id++
		c.Bye = s.send(ldapUnbind, nil) == nil
	}
	return out
}

// ask returns what was found.
func (l *ldap) ask(s *ldapConn) (what string, err error) {
	if l.TLS && !s.Secure {
		const startTLS = "1.3.6.1.4.1.1466.20037" // RFC 4511 §4.14
		if err := s.result(ldapExtended, ber(0x80, []byte(startTLS)), ldapExtReply); err != nil {
			return "", err
		}
		if out := s.StartTLS(); out.Reason != "" {
			return "", &failure{out}
		}
	}
	bind := append(ber(berInteger, []byte{3}), ber(berOctets, []byte(l.User))...)
	if err := s.result(ldapBind, append(bind, ber(0x80, []byte(l.Password))...), ldapBound); err != nil {
		return "", err
	}
	if l.Base == "" && !l.expect.wanted() {
		return "bound", nil
	}
	return l.search(s)
}

// search reads the entry: with an expectation all its attributes, else none.
func (l *ldap) search(s *ldapConn) (what string, err error) {
	attributes := ber(berOctets, []byte("1.1"))
	if l.expect.wanted() {
		attributes = append(ber(berOctets, []byte("*")), ber(berOctets, []byte("+"))...)
	}
	request := bytes.Join([][]byte{
		ber(berOctets, []byte(l.Base)),
		ber(berEnumerated, []byte{0}),    // the base object
		ber(berEnumerated, []byte{0}),    // aliases are not followed
		ber(berInteger, []byte{1}),       // one entry
		ber(berInteger, []byte{0}),       // no limit of time but ours
		ber(berBoolean, []byte{0}),       // with values
		ber(0x87, []byte("objectClass")), // whatever it is
		ber(berSequence, attributes),
	}, nil)
	s.id++
	if err := s.send(ldapSearch, request); err != nil {
		return "", err
	}
	entry, found := "", false
	for range 100 {
		op, body, err := s.receive()
		if err != nil {
			return "", err
		}
		switch op {
		case ldapEntry:
			entry, found = ldapText(body), true
		case ldapReference, ldapExtReply:
		case ldapDone:
			err := ldapResult(body)
			switch {
			case err != nil:
				return "", err
			case !found:
				return "", failed(outcome.Body, "there is no entry %s", outcome.Quote([]byte(l.Base)))
			case !l.expect.accepts([]byte(entry)):
				return "", failed(outcome.Body, "the entry is %s", outcome.Quote([]byte(entry)))
			}
			return "found " + outcome.Quote([]byte(l.Base)), nil
		default:
			return "", failed(outcome.Protocol, "not a reply to a search: %s", outcome.Quote(body))
		}
	}
	return "", failed(outcome.Protocol, "an endless search result")
}

// ldapConn sends requests and receives replies.
type ldapConn struct {
	*Conn
	id      byte // of the latest request
	replied bool // by a result, whatever it is
}

// result sends a request and reads its result.
func (s *ldapConn) result(op byte, request []byte, reply byte) error {
	s.id++
	if err := s.send(op, request); err != nil {
		return err
	}
	got, body, err := s.receive()
	switch {
	case err != nil:
		return err
	case got != reply:
		return failed(outcome.Protocol, "not a reply to a request of LDAP: %s", outcome.Quote(body))
	}
	s.replied = true
	return ldapResult(body)
}

func (s *ldapConn) send(op byte, request []byte) error {
	_, err := s.Write(ber(berSequence, append(ber(berInteger, []byte{s.id}), ber(op, request)...)))
	return err
}

// receive reads a message and returns its operation. A notice of disconnection, which has
// the number 0, is a failure.
func (s *ldapConn) receive() (op byte, body []byte, err error) {
	head := make([]byte, 2, 6)
	if n, err := io.ReadFull(s, head); err != nil {
		if n > 0 {
			return 0, nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(head[:n]))
		}
		return 0, nil, err
	}
	size := int(head[1])
	if size >= 0x80 { // the long form, which some servers use always
		head = head[:2+min(size&0x7f, 4)]
		if _, err := io.ReadFull(s, head[2:]); err != nil {
			return 0, nil, err
		}
		size = 0
		for _, b := range head[2:] {
			size = size<<8 | int(b)
		}
	}
	if head[0] != berSequence || size > maxMessage {
		return 0, nil, failed(outcome.Protocol, "not a message of LDAP: %s", outcome.Quote(head))
	}
	message := make([]byte, size)
	if n, err := io.ReadFull(s, message); err != nil {
		return 0, nil, failed(outcome.ReasonOf(err), "%s", outcome.Quote(message[:n]))
	}
	tag, id, rest, ok := berNext(message)
	op, body, _, whole := berNext(rest)
	switch {
	case !ok || !whole || tag != berInteger || len(id) == 0:
		return 0, nil, failed(outcome.Protocol, "not a message of LDAP: %s", outcome.Quote(message))
	case id[len(id)-1] == 0 && op == ldapExtReply:
		if err := ldapResult(body); err != nil {
			return 0, nil, err
		}
		return 0, nil, failed(outcome.Closed, "the server closes the connection")
	}
	return op, body, nil
}

// ldapCodes are results that a check may meet (RFC 4511 §4.1.9).
var ldapCodes = map[int]string{1: "operationsError", 2: "protocolError", 3: "timeLimitExceeded", 4: "sizeLimitExceeded", 7: "authMethodNotSupported",
	8: "strongerAuthRequired", 10: "referral", 13: "confidentialityRequired", 32: "noSuchObject", 34: "invalidDNSyntax", 48: "inappropriateAuthentication",
	49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable", 53: "unwillingToPerform", 80: "other"}

// ldapResult returns the failure of an LDAPResult: a code, a DN, a text.
func ldapResult(body []byte) error {
	tag, code, rest, ok := berNext(body)
	if !ok || tag != berEnumerated || len(code) != 1 {
		return failed(outcome.Protocol, "not a result of LDAP: %s", outcome.Quote(body))
	}
	if code[0] == 0 {
		return nil
	}
	_, _, rest, _ = berNext(rest)
	_, text, _, _ := berNext(rest)
	name := ldapCodes[int(code[0])]
	if name == "" {
		name = "result"
	}
	if len(text) > 0 {
		return failed(outcome.Status, "%s (%d): %s", name, code[0], text)
	}
	return failed(outcome.Status, "%s (%d)", name, code[0])
}

// ldapText writes an entry as lines of "attribute: value".
func ldapText(body []byte) string {
	_, _, rest, _ := berNext(body) // the name
	_, list, _, _ := berNext(rest)
	var b strings.Builder
	for len(list) > 0 {
		_, attribute, more, ok := berNext(list)
		if !ok {
			break
		}
		list = more
		_, name, set, _ := berNext(attribute)
		_, values, _, _ := berNext(set)
		for len(values) > 0 {
			_, value, more, ok := berNext(values)
			if !ok {
				break
			}
			values = more
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String()
}

// ber encodes one element: a tag, a length, the content.
func ber(tag byte, content []byte) []byte {
	n := len(content)
	head := []byte{tag, byte(n)}
	switch {
	case n > 0xffff:
		head = []byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}
	case n > 0xff:
		head = []byte{tag, 0x82, byte(n >> 8), byte(n)}
	case n > 0x7f:
		head = []byte{tag, 0x81, byte(n)}
	}
	return append(head, content...)
}

// berNext decodes the first element and returns what follows it.
func berNext(b []byte) (tag byte, content, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag, n := b[0], int(b[1])
	b = b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size > 4 || size > len(b) {
			return 0, nil, nil, false
		}
		n = 0
		for _, octet := range b[:size] {
			n = n<<8 | int(octet)
		}
		b = b[size:]
	}
	if n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:n], b[n:], true
}
