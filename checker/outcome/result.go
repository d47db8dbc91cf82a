// Reasons, phases and results.

package outcome

import (
	"iter"
	"time"
)

// Reason is the one typed outcome of a probe.
type Reason string

// The reasons. OK is a success; Local and DNS are failures of this machine and of its
// name servers and say nothing about the server; all others are failures of the
// server.
const (
	OK          Reason = "ok"
	Refused     Reason = "refused"     // the SYN was answered by a reset
	Timeout     Reason = "timeout"     // the deadline passed, in any phase
	Reset       Reason = "reset"       // reset after the handshake
	Unreachable Reason = "unreachable" // no route, or an ICMP error
	Closed      Reason = "closed"      // closed before the answer was complete
	TLS         Reason = "tls"         // handshake or certificate
	Status      Reason = "status"      // a status that is not accepted: of HTTP, SMTP, DNS
	Body        Reason = "body"        // the answer lacks what is expected
	Protocol    Reason = "protocol"    // the answer is not in the protocol of the check
	DNS         Reason = "dns"         // the name has had no address yet
	Exec        Reason = "exec"        // the program ended with a code other than 0, or by a signal
	Agent       Reason = "agent"       // the agent or the health service reports the server as down
	Local       Reason = "local"       // this machine: no descriptor, source port, memory or permission
	Off         Reason = "off"         // a check of type "off"
)

// reasons in their stored order: Totals and History keep the index.
var reasons = [...]Reason{OK, Refused, Timeout, Reset, Unreachable, Closed, TLS, Status, Body, Protocol, Local, Off, DNS, Exec, Agent}

// Conclusive reports whether the outcome says something about the server.
func (r Reason) Conclusive() bool { return r != Local && r != DNS }

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
	PhaseName    = "name" // before all others: the lookup of a host name
	PhaseRun     = "run"  // of a program
)

// Result is one probe's outcome.
type Result struct {
	At     time.Time // when it started; zero: no probe yet
	Reason Reason
	Phase  string // see the Phase constants; "" where nothing was probed
	Detail string // the answer or the error: printable ASCII, at most MaxDetail bytes
	Took   time.Duration
}
