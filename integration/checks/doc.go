// Package checks tests health checks against real servers, and what weights follow
// from them: fallback, panic mode, slow start, flap damping, agents, the guard of the
// uplink, and probes through the forwarding that they check.
package checks
