package outcome

import "time"

// Outcome is what a probe found; the engine adds when it started and how long it took.
type Outcome struct {
	Reason Reason
	Phase  string
	// Waited is how long the probe waited for a free slot before it started. It is
	// not part of the probe's time, and counts as lag.
	Waited     time.Duration
	Detail     string
	Report     *AgentReport // nil: no report about weight
	CertExpiry time.Time    // of the server's certificate; zero: none was shown
}

// NewOutcome returns an outcome. detail must be printable ASCII of at most MaxDetail
// bytes (see Printable).
func NewOutcome(reason Reason, phase, detail string) Outcome {
	return Outcome{Reason: reason, Phase: phase, Detail: detail}
}
