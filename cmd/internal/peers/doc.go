// Package peers implements the exchange of status between directors: each requests the others'
// status once a second, over TCP with messages authenticated by the key of the VRRP
// instances. docs/pair.md has the protocol.
//
//	client.go ─▶ request ─▶ server.go of the peer ─▶ its status
//	    └─▶ levels (reachable, differences) for the director, changes for the events
//
// It only reads: no message of a peer changes anything here by itself.
package peers
