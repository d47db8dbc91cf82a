// This file has the bodies of requests and responses and their bounds: a peer's
// strings are cut to a length and made printable.

package peers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The requests.
const (
	wantState  = "state"
	wantHealth = "health" // State's Health with all its servers
	wantDrain  = "drain"
	wantEdit   = "edit"
)

// question is the body of a request.
type question struct {
	From string `json:"from"`
	To   string `json:"to"`
	Want string `json:"want"`
	// Of a drain and an edit.
	Service    string `json:"service,omitempty"`
	RealServer string `json:"real_server,omitempty"`
	Edit       *Edit  `json:"edit,omitempty"`
}

// reply is the body of a response; its contents depend on the request.
type reply struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	State  *State  `json:"state,omitempty"`
	Health *Health `json:"health,omitempty"`
	Drain  *Drain  `json:"drain,omitempty"`
	Edited *Edited `json:"edited,omitempty"`
}

// parseQuestion parses the body of a request.
func parseQuestion(body []byte) (question, bool) {
	var q question
	if json.Unmarshal(body, &q) != nil {
		return q, false
	}
	return q, true
}

// parseReply parses the body of a response.
func parseReply(body []byte, q question) (reply, error) {
	var r reply
	if err := checkCounts(body); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("its response cannot be decoded: %w", err)
	}
	if r.From != q.To || r.To != q.From {
		return r, fmt.Errorf("%q replied instead of %q", clean(r.From, 64), q.To)
	}
	switch {
	case q.Want == wantState && r.State == nil, q.Want == wantHealth && r.Health == nil, q.Want == wantDrain && r.Drain == nil,
		q.Want == wantEdit && r.Edited == nil:
		return r, fmt.Errorf("its response is incomplete")
	}
	if r.State != nil {
		r.State.clean()
		r.State.Director = r.From
	}
	if r.Health != nil {
		r.Health.clean()
	}
	if r.Edited != nil {
		r.Edited.Hash, r.Edited.Error = clean(r.Edited.Hash, 64), clean(r.Edited.Error, maxText)
	}
	return r, nil
}

// Bounds of what is kept of a peer.
const (
	maxProblems  = 32
	maxInstances = 1024
	maxText      = 400
	// maxElements bounds the values of one response: about those of 100,000 real
	// servers.
	maxElements = 500_000
)

// checkCounts rejects a body with more values than any director sends, before memory
// is allocated for them: decoded, an empty object takes fifty times its two octets.
func checkCounts(body []byte) error {
	values, quoted, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case quoted:
			quoted, escaped = c != '"', c == '\\'
		case c == '"':
			quoted = true
		case c == '{', c == '[', c == ',':
			if values++; values > maxElements {
				return errTooMany
			}
		}
	}
	return nil
}

var errTooMany = fmt.Errorf("its response has more than %d values", maxElements)

// clean bounds a state and makes it printable.
func (s *State) clean() {
	s.Version, s.Hash, s.WaitReason = clean(s.Version, 64), clean(s.Hash, 64), clean(s.WaitReason, maxText)
	s.HTTPListen = clean(s.HTTPListen, 64)
	// Copies, so that what is cut does not stay in memory.
	s.Problems = slices.Clone(s.Problems[:min(len(s.Problems), maxProblems)])
	for i := range s.Problems {
		s.Problems[i] = clean(s.Problems[i], maxText)
	}
	s.Instances = slices.Clone(s.Instances[:min(len(s.Instances), maxInstances)])
	for i := range s.Instances {
		e := &s.Instances[i]
		e.Name, e.State, e.Detail = clean(e.Name, 64), clean(e.State, 64), clean(e.Detail, maxText)
	}
	s.Announces = slices.Clone(s.Announces[:min(len(s.Announces), maxInstances)])
	for i := range s.Announces {
		a := &s.Announces[i]
		a.Name, a.Why = clean(a.Name, 64), clean(a.Why, maxText)
	}
	s.Probed = s.Probed[:min(len(s.Probed), maxElements/8)]
	s.Health.clean()
}

func (h *Health) clean() {
	h.Digest = clean(h.Digest, 64)
	for i := range h.Services {
		s := &h.Services[i]
		s.Name = clean(s.Name, 64)
		for j := range s.Servers {
			v := &s.Servers[j]
			v.Address, v.Health, v.Why = clean(v.Address, 64), clean(v.Health, 16), clean(v.Why, maxText)
		}
	}
}

// clean returns a text of at most limit octets without control characters.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = strings.Clone(s[:limit])
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
