// This file writes a DNS query and reads the reply to it, as far as a check must.
// It never sends anything.

package checker

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// query is what is asked, and the answer that is wanted.
type query struct {
	question dnsmessage.Question
	rcode    dnsmessage.RCode
	answer   string // "": anything, or nothing
}

// reply is what came, of all records of the wanted type.
type reply struct {
	code      dnsmessage.RCode
	truncated bool
	records   int
	first     string // the first one, as a text
	found     bool   // one of them is the wanted one
}

var recordTypes = map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
	"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA,
	"SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT}

func newQuery(c *Check) (q query, err error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(c.DNSName, ".") + ".")
	if err != nil {
		return q, fmt.Errorf("the name %q: %w", c.DNSName, err)
	}
	kind, ok := recordTypes[c.DNSRecord]
	if !ok {
		return q, fmt.Errorf("%q is no type of a record", c.DNSRecord)
	}
	code, ok := rcodes[c.DNSRcode]
	if !ok {
		return q, fmt.Errorf("%q is no response code", c.DNSRcode)
	}
	q = query{dnsmessage.Question{Name: name, Type: kind, Class: dnsmessage.ClassINET}, code, c.DNSAnswer}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{q.question}}
	if _, err := m.Pack(); err != nil {
		return q, fmt.Errorf("the name %q: %w", c.DNSName, err)
	}
	return q, nil
}

// message is the query with an identifier. It was packed once before, so it can
// be.
func (q *query) message(id uint16) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q.question}}
	b, _ := m.Pack()
	return b
}

var errNoReply = errors.New("no reply to the query")

// read takes a reply apart. An error says that it is none, or none to this query.
func (q *query) read(b []byte, id uint16) (*reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id {
		return nil, errNoReply
	}
	r := &reply{code: h.RCode, truncated: h.Truncated}
	asked, err := p.AllQuestions()
	switch {
	case err != nil || len(asked) > 1:
		return nil, errNoReply
	case len(asked) == 0: // so answer servers that did not understand the query
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
			if r.truncated {
				return r, nil
			}
			return nil, fmt.Errorf("a broken record in the reply: %w", err)
		}
		r.add(record.Body, q.answer)
	}
}

func (r *reply) add(body dnsmessage.ResourceBody, wanted string) {
	texts := textsOf(body)
	if r.records++; r.records == 1 {
		r.first = texts[0]
	}
	for _, text := range texts {
		r.found = r.found || strings.EqualFold(text, strings.TrimSuffix(wanted, "."))
	}
}

// textsOf are the ways in which a record may be named, the fullest first.
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

func (r *reply) summary() string {
	switch r.records {
	case 0:
		return "no such record"
	case 1:
		return r.first
	}
	return fmt.Sprintf("%s and %d more", r.first, r.records-1)
}
