package reload

import (
	"errors"

	"lvsd/config"
)

// Participant is one side of a two-phase reload: it validates the next
// configuration and returns the change to commit once every participant has
// accepted. Old is nil at start.
type Participant func(old, next *config.Config) (Change, error)

// Reader reads the files that the next configuration names and returns the participant
// that uses them, which refuses with the error of a file that cannot be read. It is
// called outside the director's loop, which waits for no disk, and changes nothing.
type Reader func(next *config.Config) Participant

// Change is a participant's prepared step. Commit cannot fail; Abort leaves
// everything as it was. Either may be nil.
type Change struct{ Commit, Abort func() }

// PrepareAll asks all participants. Where one refuses, those that accepted are
// aborted, and the error joins all reasons.
func PrepareAll(participants []Participant, old, next *config.Config) (Change, error) {
	var changes []Change
	var errs []error
	for _, p := range participants {
		change, err := p(old, next)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		changes = append(changes, change)
	}
	abort := func() {
		for _, c := range changes {
			if c.Abort != nil {
				c.Abort()
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		abort()
		return Change{}, err
	}
	return Change{Abort: abort, Commit: func() {
		for _, c := range changes {
			if c.Commit != nil {
				c.Commit()
			}
		}
	}}, nil
}
