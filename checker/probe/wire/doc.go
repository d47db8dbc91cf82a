// Package wire encodes and parses the messages of the protocols that checks speak:
// HTTP/1 requests and responses, DNS, gRPC's health service, the PROXY header. It
// reads no socket and no clock, and keeps a bounded part of what it is given.
package wire
