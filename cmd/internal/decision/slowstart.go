// Slow start: the weight of a server that came back rises in steps. A ramp
// knows when it began and nothing of weights, checks or the kernel.

package decision

import "time"

// rampSteps bounds what a ramp writes into the kernel: at most this many
// weights, each a twentieth of the whole higher than the one before it.
const rampSteps = 20

// ramp is how a server comes back. Its zero value is a server that carries
// nothing.
type ramp struct {
	// carries: the server may have weight, but for slow start itself.
	carries bool
	// since is when it came back; zero when it has its full share.
	since time.Time
}

// observe takes what all causes but slow start leave to a server. A server that
// may have weight again after it had none begins a ramp; settled says that it
// is no comeback: the kernel balanced to it before the daemon started.
func (r ramp) observe(carries, settled bool, over time.Duration, now time.Time) ramp {
	switch {
	case !carries:
		return ramp{}
	case !r.carries && !settled:
		r = ramp{carries: true, since: now}
	}
	r.carries = true
	if r.percent(over, now) == 100 {
		r.since = time.Time{} // a longer slow_start does not bring it back
	}
	return r
}

// percent is the share of its weight that a server has: 5 at once, 100 after
// the time, and in between a multiple of 5.
func (r ramp) percent(over time.Duration, now time.Time) int {
	step := r.step(over, now)
	return max(step, 1) * 100 / rampSteps
}

func (r ramp) step(over time.Duration, now time.Time) int {
	gone := now.Sub(r.since)
	if r.since.IsZero() || over <= 0 || gone >= over {
		return rampSteps
	}
	return int(max(gone, 0) * rampSteps / over)
}

// next is when the share rises again; zero: never.
func (r ramp) next(over time.Duration, now time.Time) time.Time {
	step := r.step(over, now)
	if step >= rampSteps {
		return time.Time{}
	}
	// Rounded up: at that moment the division gives the next step.
	return r.since.Add((time.Duration(max(step, 1)+1)*over + rampSteps - 1) / rampSteps)
}

// share is a percentage of a weight, at least 1: a server with a share is
// never without traffic by rounding.
func share(weight, percent int) int {
	if weight <= 0 || percent <= 0 {
		return 0
	}
	return max(weight*percent/100, 1)
}
