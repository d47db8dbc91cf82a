// Package api has the JSON that lvsd serves and prints, and the client of the
// control socket that the commands use. Package server serves it.
package api
