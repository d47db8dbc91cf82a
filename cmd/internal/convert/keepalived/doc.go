// Package keepalived converts keepalived.conf, of one director or of several.
//
//	lines.go → blocks.go → validate.go → keepalived.go ─┬─ vrrp.go, routes.go     [[vrrp]]
//	 include,    a tree     what keepa-   a file a       └─ service.go, check.go   [[virtual_service]]
//	 @, $, ~                lived resets  director
//
// The source is keepalived.conf(5) of version 2.2.7, and what that version does after it
// has read its files. Keywords without an equivalent are listed in keywords.go, each with
// the reason.
package keepalived
