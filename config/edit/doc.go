// Package edit changes the weight and the drain of a real server in the text of a
// configuration, and nothing else of it: comments and layout stay as they are.
//
//	text ─▶ config.Parse: which entry is the server ─▶ tomlpos: where it stands ─▶ text
//
// Every result is parsed again and compared: an edit that would change anything but
// this server is refused.
package edit
