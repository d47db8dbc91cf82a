package outcome

import "time"

// Outcome is what a prober found; the engine knows when and how long.
type Outcome struct {
	Reason     Reason
	Phase      string
	Detail     string
	Report     *AgentReport // nil: nothing about weights
	CertExpiry time.Time    // of the certificate that was shown; zero: none was
}

func NewOutcome(reason Reason, phase, detail string) Outcome {
	return Outcome{Reason: reason, Phase: phase, Detail: detail}
}
