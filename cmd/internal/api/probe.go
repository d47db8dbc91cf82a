// This file has probes run once for a command: their report, and those that only the
// daemon can run, because they go through the kernel's forwarding.

package api

import (
	"context"
	"net/http"
	"net/url"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// ProbeReport is the result of one check of lvsd probe.
type ProbeReport struct {
	Service    string      `json:"service"`
	RealServer string      `json:"real_server"`
	Address    string      `json:"address,omitempty"` // probed address
	MarkProbe  bool        `json:"through"`           // by the daemon, to the service's address on that server
	Good       bool        `json:"good"`
	NotRun     string      `json:"not_run,omitempty"` // why it was not run
	Probe      *Probe      `json:"probe,omitempty"`
	Steps      []ProbeStep `json:"steps"`
}

// ProbeStep is one thing that a probe sent or received.
type ProbeStep struct {
	After float64 `json:"after_seconds"`
	Phase string  `json:"phase"`
	Text  string  `json:"text"`
}

// NewProbeReport returns the report of a check.
func NewProbeReport(id checker.ID, c probe.Check, t probe.Trace) ProbeReport {
	p := NewProbe(c.Name, c.Type, t.Result)
	out := ProbeReport{Service: id.Service, RealServer: id.RealServer, Address: c.TargetName(), MarkProbe: c.MarkPath,
		Good: t.Reason == outcome.OK, Probe: &p, Steps: []ProbeStep{}}
	for _, l := range t.Steps {
		out.Steps = append(out.Steps, ProbeStep{After: l.After.Seconds(), Phase: l.Phase, Text: l.Text})
	}
	return out
}

// RunMarkProbes makes the daemon run the checks of a real server that go through the
// kernel's forwarding, once.
func (c *Client) RunMarkProbes(ctx context.Context, id checker.ID) ([]ProbeReport, error) {
	query := url.Values{"service": {id.Service}, "real_server": {id.RealServer}}
	return call[[]ProbeReport](ctx, c, http.MethodPost, "/control/v1/probe?"+query.Encode())
}
