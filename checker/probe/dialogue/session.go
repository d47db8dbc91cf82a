package dialogue

import (
	"errors"
	"fmt"
	"io"
	"lvsd/checker/outcome"
	"lvsd/checker/pattern"
	"strings"
)

// Conn is the connection of a session.
type Conn struct {
	io.ReadWriter
	// Upgrade starts TLS and returns the connection in it; with an outcome, one whose
	// certificate is invalid, for ending the protocol. nil: TLS is not wanted.
	Upgrade func() (io.ReadWriter, outcome.Outcome)
	Secure  bool // TLS is on
	Bye     bool // the server was asked to close
}

// StartTLS upgrades the connection. The outcome is zero on success.
func (c *Conn) StartTLS() outcome.Outcome {
	rw, out := c.Upgrade()
	if rw != nil {
		c.ReadWriter, c.Secure = rw, true
	}
	return out
}

// maxMessage bounds one message of a server, in bytes.
const maxMessage = 64 << 10

// Session is a dialogue that computes what it sends. Calls of Run do not overlap.
type Session interface {
	Run(c *Conn) outcome.Outcome
}

// NewSession returns the session of a type of check, nil if it has none, or what is
// invalid in the settings.
func NewSession(name string, s Settings) (Session, error) {
	var expect expectation
	for _, e := range []struct {
		name, text string
		to         **pattern.Pattern
	}{{"expect", s.Expect, &expect.must}, {"expect_not", s.ExpectNot, &expect.not}} {
		if e.text == "" {
			continue
		}
		var err error
		if *e.to, err = pattern.Compile(e.text); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if strings.Contains(s.User+s.Password+s.Database+s.Query, "\x00") {
		return nil, errors.New("a user, password, database or query contains a NUL byte")
	}
	switch name {
	case "mysql":
		return &mysql{s, expect}, nil
	case "postgres":
		return &postgres{Settings: s, expect: expect, nonce: randomText}, nil
	case "ldap", "ldaps":
		return &ldap{s, expect}, nil
	}
	return nil, nil
}

// expectation is what must match a text, and what must not; nil: nothing.
type expectation struct{ must, not *pattern.Pattern }

func (e *expectation) wanted() bool { return e.must != nil || e.not != nil }

func (e *expectation) accepts(b []byte) bool {
	return (e.must == nil || e.must.Match(b)) && (e.not == nil || !e.not.Match(b))
}

// failure is the outcome of a session as an error.
type failure struct{ out outcome.Outcome }

func (f *failure) Error() string { return f.out.Detail }

// failed returns a failure with a reason.
func failed(reason outcome.Reason, format string, args ...any) error {
	return &failure{outcome.NewOutcome(reason, outcome.PhaseReceive, outcome.Printable(fmt.Sprintf(format, args...), outcome.MaxDetail))}
}

// outcomeOf returns the outcome of an error of a session. What is not a failure is an
// error of the connection.
func outcomeOf(err error) outcome.Outcome {
	if err == nil {
		return outcome.Outcome{}
	}
	var f *failure
	if errors.As(err, &f) {
		return f.out
	}
	return outcome.FromError(outcome.PhaseReceive, err, "")
}

// sqlRole is the question for a server's role, with the answers of a primary and of a
// replica.
type sqlRole struct {
	query            string
	primary, replica []string
}

// evaluate compares an answer with the role that is wanted.
func (r *sqlRole) evaluate(answer, wanted string) error {
	is := ""
	for _, s := range r.primary {
		if answer == s {
			is = "primary"
		}
	}
	for _, s := range r.replica {
		if answer == s {
			is = "replica"
		}
	}
	switch is {
	case wanted:
		return nil
	case "":
		return failed(outcome.Protocol, "%s is %s", r.query, outcome.Quote([]byte(answer)))
	}
	return failed(outcome.Status, "the server is a %s", is)
}

// evaluateRow compares the first row of a query's result with what is expected. A nil
// row is none.
func evaluateRow(row []string, expect *expectation) error {
	text := []byte(strings.Join(row, "\t"))
	switch {
	case row == nil:
		return failed(outcome.Body, "the query returns no row")
	case !expect.accepts(text):
		return failed(outcome.Body, "the query returns %s", outcome.Quote(text))
	}
	return nil
}
