package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Query is a question and the answer that is expected.
type Query struct {
	question dnsmessage.Question
	Rcode    dnsmessage.RCode
	Answer   string // "": anything, or nothing
}

// Reply is a reply, with the records of the queried type.
type Reply struct {
	Code      dnsmessage.RCode
	Truncated bool
	Records   int
	first     string // the first one, as text
	Found     bool   // one of them is the expected one
}

var recordTypes = map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
	"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA,
	"SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT}

// NewQuery returns the query for a name ("" is the root) and a record type. rcode "" is
// NOERROR; answer "" accepts any reply with that code.
func NewQuery(host, record, rcode, answer string) (q Query, err error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
	if err != nil {
		return q, fmt.Errorf("the name %q: %w", host, err)
	}
	kind, ok := recordTypes[record]
	if !ok {
		return q, fmt.Errorf("%q is not a record type", record)
	}
	code, ok := rcodes[rcode]
	if !ok {
		return q, fmt.Errorf("%q is not a response code", rcode)
	}
	q = Query{dnsmessage.Question{Name: name, Type: kind, Class: dnsmessage.ClassINET}, code, answer}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{q.question}}
	if _, err := m.Pack(); err != nil {
		return q, fmt.Errorf("the name %q: %w", host, err)
	}
	return q, nil
}

// Message returns the query with an identifier. NewQuery packed it before, so packing
// cannot fail.
func (q *Query) Message(id uint16) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q.question}}
	b, _ := m.Pack()
	return b
}

var errNoReply = errors.New("not a reply to the query")

// Parse parses a reply. It returns an error for anything that is not a reply to the query.
func (q *Query) Parse(b []byte, id uint16) (*Reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id {
		return nil, errNoReply
	}
	r := &Reply{Code: h.RCode, Truncated: h.Truncated}
	asked, err := p.AllQuestions()
	switch {
	case err != nil || len(asked) > 1:
		return nil, errNoReply
	case len(asked) == 0: // as from servers that did not understand the query
		if h.RCode == dnsmessage.RCodeSuccess {
			return nil, errNoReply
		}
		return r, nil
	case asked[0].Type != q.question.Type || asked[0].Class != q.question.Class ||
		!strings.EqualFold(asked[0].Name.String(), q.question.Name.String()):
		return nil, errNoReply
	}
	for {
		head, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return r, nil
		}
		if err == nil && head.Type != q.question.Type {
			if err = p.SkipAnswer(); err == nil {
				continue
			}
		}
		var record dnsmessage.Resource
		if err == nil {
			record, err = p.Answer()
		}
		if err != nil {
			if r.Truncated {
				return r, nil
			}
			return nil, fmt.Errorf("an invalid record in the reply: %w", err)
		}
		r.add(record.Body, q.Answer)
	}
}

func (r *Reply) add(body dnsmessage.ResourceBody, wanted string) {
	texts := textsOf(body)
	if r.Records++; r.Records == 1 {
		r.first = texts[0]
	}
	for _, text := range texts {
		r.Found = r.Found || strings.EqualFold(text, strings.TrimSuffix(wanted, "."))
	}
}

// textsOf returns the forms in which a record may be expected, the fullest first.
func textsOf(body dnsmessage.ResourceBody) []string {
	name := func(n dnsmessage.Name) string { return strings.TrimSuffix(n.String(), ".") }
	switch r := body.(type) {
	case *dnsmessage.AResource:
		return []string{netip.AddrFrom4(r.A).String()}
	case *dnsmessage.AAAAResource:
		return []string{netip.AddrFrom16(r.AAAA).String()}
	case *dnsmessage.CNAMEResource:
		return []string{name(r.CNAME)}
	case *dnsmessage.MXResource:
		return []string{strconv.Itoa(int(r.Pref)) + " " + name(r.MX), name(r.MX)}
	case *dnsmessage.NSResource:
		return []string{name(r.NS)}
	case *dnsmessage.PTRResource:
		return []string{name(r.PTR)}
	case *dnsmessage.SOAResource:
		return []string{name(r.NS)}
	case *dnsmessage.SRVResource:
		return []string{fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, name(r.Target)), name(r.Target)}
	case *dnsmessage.TXTResource:
		return []string{strings.Join(r.TXT, "")}
	}
	return []string{""}
}

// Summary describes the records.
func (r *Reply) Summary() string {
	switch r.Records {
	case 0:
		return "no such record"
	case 1:
		return r.first
	}
	return fmt.Sprintf("%s and %d more", r.first, r.Records-1)
}

// rcodes are the names of RFC 1035 §4.1.1, as dig prints them.
var rcodes = map[string]dnsmessage.RCode{"": dnsmessage.RCodeSuccess, "NOERROR": dnsmessage.RCodeSuccess,
	"FORMERR": dnsmessage.RCodeFormatError, "SERVFAIL": dnsmessage.RCodeServerFailure, "NXDOMAIN": dnsmessage.RCodeNameError,
	"NOTIMP": dnsmessage.RCodeNotImplemented, "REFUSED": dnsmessage.RCodeRefused}

// RcodeName returns the name of a response code.
func RcodeName(c dnsmessage.RCode) string {
	for name, known := range rcodes {
		if known == c && name != "" {
			return name
		}
	}
	return fmt.Sprintf("rcode %d", c)
}
