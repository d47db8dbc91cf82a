// This file holds the words of an outcome: one typed reason for each probe, and
// the verdict that is made of several. It never judges.
//
// PURE.
package outcome

import (
	"iter"
	"time"
)

// Reason is the one typed outcome of a probe.
type Reason string

// The reasons. OK is a success; Local and DNS are trouble of this machine and of
// its name servers and say nothing about the server; all others are the server's
// failure.
const (
	OK          Reason = "ok"
	Refused     Reason = "refused"     // the port answered with a reset to the SYN
	Timeout     Reason = "timeout"     // the one deadline passed, in whatever phase
	Reset       Reason = "reset"       // reset after the handshake
	Unreachable Reason = "unreachable" // no route, or a router said so
	Closed      Reason = "closed"      // closed before the answer was complete
	TLS         Reason = "tls"         // handshake or certificate
	Status      Reason = "status"      // a status that is not accepted: of HTTP, SMTP, DNS
	Body        Reason = "body"        // the answer lacks what is expected
	Protocol    Reason = "protocol"    // the answer is not in the language of the check
	DNS         Reason = "dns"         // there never was an address of the name to probe
	Exec        Reason = "exec"        // the program ended in another code than 0, or by a signal
	Agent       Reason = "agent"       // the agent, or the health service, says that the server is down
	Local       Reason = "local"       // this machine: no descriptor, no source port, no memory, no right
	Off         Reason = "off"         // a check of type "off"
)

// reasons in their stored order: the index is what Totals and the history keep.
var reasons = [...]Reason{OK, Refused, Timeout, Reset, Unreachable, Closed, TLS, Status, Body, Protocol, Local, Off, DNS, Exec, Agent}

func (r Reason) Code() uint8 {
	for i, known := range reasons {
		if r == known {
			return uint8(i)
		}
	}
	return Protocol.Code()
}

// Totals counts results by reason since the probe was first made.
type Totals [len(reasons)]uint64

// Get returns the count of one reason.
func (t *Totals) Get(r Reason) uint64 { return t[r.Code()] }

// All yields each reason that was seen at least once, in a fixed order.
func (t *Totals) All() iter.Seq2[Reason, uint64] {
	return func(yield func(Reason, uint64) bool) {
		for i, n := range t {
			if n > 0 && !yield(reasons[i], n) {
				return
			}
		}
	}
}

// The phases of a probe, in their order: the one in which it ended.
const (
	PhaseConnect = "connect"
	PhaseTLS     = "tls"
	PhaseSend    = "send"
	PhaseReceive = "receive"
	PhaseName    = "name" // before all others: there is no address yet
	PhaseRun     = "run"  // of a program
)

// Result is one probe's outcome.
type Result struct {
	At     time.Time // when it was started; zero: there was none yet
	Reason Reason
	Phase  string // see the Phase constants; "" where nothing was probed
	Detail string // what was answered, or the error: printable ASCII, at most 256 bytes
	Took   time.Duration
}
