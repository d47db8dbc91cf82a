package vrrpproc

import (
	"time"

	"lvsd/vrrp"
)

// The daemon and its child process exchange plain values by gob, over a pipe each way.
// Both ends are the same program, so that the messages have no version.

// verb is what an order asks for.
type verb uint8

const (
	doOpen     verb = iota + 1 // reply: the error, if any
	doClose                    // of an instance that never ran
	doRun                      // reported with Ended when it has given its addresses up
	doStop                     // hand over and end
	doUpdate                   // another configuration
	doHandOver                 // resign
	doTrack                    // adjust the priority
	doRefresh                  // reply after the status of all instances
	doLevel                    // the level of the log
)

// command is a message of the daemon.
type command struct {
	Do       verb
	Reply    uint64 // 0: none is wanted
	Instance uint64
	Config   *vrrp.Config
	// doTrack, doLevel
	Name  string
	Delta int
	Fault bool
}

// report is a message of the child process. The parts that it has say what it is.
type report struct {
	Reply          uint64 // to an order
	Instance       uint64
	Status         *vrrp.Status
	Event          *vrrp.Event
	MasterConflict *vrrp.MasterConflict

	AddressConflict *vrrp.AddressConflict
	Restored        *vrrp.Restored

	Lags  []time.Duration // of timers since the last report
	Ended bool            // the instance's Run has returned
	Err   string          // of a reply, or of an end
}

// control reports whether the daemon waits for a report.
func (r report) control() bool { return r.Reply != 0 || r.Ended }
