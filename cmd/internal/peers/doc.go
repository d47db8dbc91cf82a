// Package peers implements the exchange of status between directors: each requests the others'
// status once a second, over TCP with messages authenticated by the key of the VRRP
// instances. docs/peers.md has the protocol.
//
//	client.go ─▶ request ─▶ server.go of the peer ─▶ its status
//	    └─▶ levels (reachable, differences) for the director, changes for the events
//
// No message of a peer changes anything here, except for an edit of a weight or a drain
// where [peers] edits is true.
package peers
