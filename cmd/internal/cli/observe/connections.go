// This file has lvsd status --connections.

package observe

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
)

// showConnections prints the kernel's connections of a service, or of all with "".
func showConnections(ctx context.Context, client *api.Client, service string, asJSON bool) error {
	list, err := client.Connections(ctx, service)
	if err != nil {
		return err
	}
	if asJSON {
		return command.PrintJSON(list)
	}
	return printConnections(command.Stdout, list)
}

func printConnections(out io.Writer, list api.Connections) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tPROTOCOL\tCLIENT\tVIRTUAL\tREAL SERVER\tSTATE\tORIGIN\tEXPIRES")
	for _, c := range list.Connections {
		name := c.Service
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%v\n", name, c.Protocol, c.Client, c.Virtual, c.RealServer, c.State, c.Origin, time.Duration(c.Expires)*time.Second)
	}
	if list.More {
		fmt.Fprintf(w, "… and more (first %d that the kernel listed)\n", len(list.Connections))
	}
	return w.Flush()
}
