// Old servers that are checked without verification may have certificates with a negative
// serial number, which the library refuses to parse otherwise.
//go:debug x509negativeserial=1

// Command lvsd is a director for Linux Virtual Server: VRRP, health checks and the
// kernel's IPVS table in one daemon, and the commands to operate it.
package main

import (
	"os"

	"lvsd/cmd/internal/cli"
)

// Set by the build.
var version, commit string

func main() { os.Exit(cli.Run(os.Args[1:], version, commit)) }
