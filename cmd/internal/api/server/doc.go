// Package server serves the API over HTTP: http_listen, which only reads, with TLS
// and users where configured, and the control socket, which also accepts commands.
//
//	http_listen ────▶ read handlers ────────▶ director.View
//	control socket ─▶ read handlers + POST ─▶ director
package server
