// Package pattern has the regular expressions of checks. Their syntax is RE2's, with one
// meaning everywhere:
//
//	^ $        the ends of a line, which ends in LF or CRLF
//	\A \z      the ends of what was received
//	\x80…\xff  bytes, also as octal digits
//
// Other characters beyond ASCII stand for their UTF-8 encoding.
package pattern
