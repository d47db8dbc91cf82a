// The servers of -host: one process that serves every loopback address.

package main

import (
	"fmt"
	"os"

	"lvsd/integration/bench/measure"
)

// serve runs the servers until the end of its standard input.
func serve() error {
	l, port, err := measure.Listen(0)
	if err != nil {
		return err
	}
	fmt.Println(port)
	return measure.Serve(l, int(os.Stdin.Fd()))
}
