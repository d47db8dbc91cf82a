// Package convert turns the configuration of another program into an lvsd.toml.
// The formats are in the packages keepalived, ldirectord and ipvsadm below; this
// one has what they share.
//
//	file → parser (one per format) → Table → Merge → repair → write → lvsd.toml
//	                  │                        │        │
//	                  └──── Note: file, line, reason ───┘
//
// A parser fills a Table, the result as a tree in which every value has the line
// that it comes from. Merge combines the tables of several directors. Finish
// removes what config refuses, so that the result passes `lvsd check`, and writes
// it. Each line that is not carried over, or not as it says, becomes a Note, and
// Result.Diff shows each line beside what it has become.
//
// The package opens no file and looks up no name: the caller passes the functions
// for that in Env.
package convert
