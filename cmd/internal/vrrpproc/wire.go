package vrrpproc

// What the daemon and the process of its elections say to each other: plain
// values, by gob, over a pipe each way. Both ends are the same program, so there
// is no version of it.

import (
	"time"

	"lvsd/vrrp"
)

// What the daemon asks for.
type verb uint8

const (
	doOpen     verb = iota + 1 // answered: nil, or why not
	doClose                    // of an election that never ran
	doRun                      // ended is told when it has given its addresses up
	doStop                     // hand over and end
	doUpdate                   // another configuration
	doHandOver                 // resign
	doTrack                    // what something outside does to the election
	doShow                     // answered when all states have been told
	doLevel                    // the level of the log
)

// order is a message of the daemon.
type order struct {
	Do       verb
	Answer   uint64 // 0: none is wanted
	Election uint64
	Config   *vrrp.Config
	// doTrack, doLevel
	Name  string
	Delta int
	Fault bool
}

// report is a message of the elections' process. Which parts it has says what
// it is.
type report struct {
	Answer   uint64 // to an order
	Election uint64
	Status   *vrrp.Status
	Event    *vrrp.Event
	Contest  *vrrp.MasterConflict
	Lags     []time.Duration // of timers that were served since the last
	Ended    bool            // the election's Run is over
	Err      string          // of an answer, or of an end
}
