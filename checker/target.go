package checker

import (
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// ID names a target. The caller chooses it; it is only compared and logged.
type ID struct{ Service, RealServer string }

// Target is one real server of one service and the checks that it must pass,
// all of them.
type Target struct {
	ID     ID
	Checks []probe.Check // at least one
	// InKernel: the kernel already has this server. Then a success counts at once
	// and a failure needs Fall in a row; else the first result is the state.
	// It is read only when the target is new to the engine.
	InKernel bool
	// Report is what the server's agent reported before the engine knew the target; nil:
	// nothing. It is read as InKernel is.
	Report *outcome.AgentReport
}
