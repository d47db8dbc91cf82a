// Package printable makes text safe to be shown: peers, servers, files and the kernel
// decide parts of what lvsd prints, and none of it may be a command for a terminal. It is
// applied where text leaves lvsd, whatever was done to it before.
package printable
