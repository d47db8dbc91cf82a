// Package status lays out the status of a director for a terminal: the page of lvsd
// status, the selection of what it shows, and the live view of lvsd watch.
package status
