// Package auth authenticates VRRP adverts: the simple password of version 2
// (RFC 2338 §5.3.6) and the HMAC trailer of docs/vrrp-authentication.md, whose
// keys come from a key file.
//
//	key file ──► Keyring ──► Sign ──► advert + trailer ──► Verify ──► sequence, or why it is refused
//
// The package reads key files, and no clock: the time is an argument. No error
// and no log line contains a key.
package auth
