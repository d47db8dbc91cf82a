// Package dialogue has the built-in dialogues of checks: what is sent to a server of a
// protocol, and what it must reply.
//
//	kinds.go  dialogues as data: steps of a tcp check, with placeholders
//	mysql.go  postgres.go  ldap.go  radius.go  dialogues that compute: logins, signatures
//
// A Script is run by the tcp check of package probe, a Session runs itself on a
// connection that it is given. Neither opens a socket or reads a clock. Each ends the
// dialogue in the way of the protocol, so that a server logs and counts no error.
package dialogue
