// Package ipvsadm formats and parses the text of ipvsadm(8): the lines that `ipvsadm -S -n`
// prints and `ipvsadm -R` reads.
//
//	ipvs.Table ─► Format ─► -A -t 10.0.0.88:80 -s wlc …
//	                        -a -t 10.0.0.88:80 -r 10.0.0.9:80 … ─► Parse ─► Command
//
// Format writes a table with numeric addresses. Parse reads the options of one line,
// long or short, and leaves their values as they are written: a file may have names
// of hosts and of ports.
package ipvsadm
