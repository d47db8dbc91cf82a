// Package servers tests the built-in dialogues against the servers that they are for, as
// Debian has them: up, a wrong password, a wrong role, hung, and what a probe leaves in the
// server's log. `make test-servers` installs them and runs the tests; no IPVS is needed.
package servers
