package decision

import "time"

// rampSteps is how many weights slow start writes at most, each a twentieth of the whole
// higher than the one before.
const rampSteps = 20

// ramp is the slow start of a server. The zero value is a server without weight.
type ramp struct {
	// carries: the server may have weight, apart from slow start.
	carries bool
	// since is when it returned; zero when it has its full share.
	since time.Time
}

// observe records whether the causes except slow start leave weight to a server. One that
// may have weight again begins a ramp, unless settled: the kernel balanced to it before
// the daemon started.
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

// percent is the share of its weight that a server has: 5 at once, 100 at the end, a
// multiple of 5 in between.
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

// share is a percentage of a weight, at least 1, so that rounding takes no server out of
// service.
func share(weight, percent int) int {
	if weight <= 0 || percent <= 0 {
		return 0
	}
	return max(weight*percent/100, 1)
}
