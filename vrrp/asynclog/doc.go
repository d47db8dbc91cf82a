// Package asynclog keeps logging from delaying its caller.
//
//	Logger ──► queue of 256 records ──► Writer.Run ──► handler
//
// A full queue drops records; the next record written carries their number as
// records_dropped.
package asynclog
