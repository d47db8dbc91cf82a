// This file has lvsd why.

package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func whyCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:   "why SERVICE [REAL]",
		Short: "Explain the weights of a service's real servers",
		Long:  "Shows every cause of a real server's weight, each with the weight that it alone\nwould give, the last probes with phase, duration and what was answered, and what\nmust happen for the configured weight to come back.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), status.Timeout)
			defer cancel()
			realServer := ""
			if len(args) == 2 {
				realServer = args[1]
			}
			why, err := o.Client(socket).Why(ctx, args[0], realServer)
			if err != nil {
				return err
			}
			if asJSON {
				return command.PrintJSON(why)
			}
			return printWhy(command.Stdout, why, time.Now())
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// shownProbes is how many of the last probes are printed; --json has all.
const shownProbes = 5

func printWhy(out io.Writer, why api.Why, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "lines are those of %s\n", why.File)
	for _, rs := range why.Servers {
		fmt.Fprintf(w, "%s %s: weight %s of %d, %s\n", why.Service, rs.Address, status.Weight(rs.Weight), rs.Configured, status.Health(rs.RealServerStatus))
		for _, c := range rs.Causes {
			fmt.Fprintf(w, "  %s\tgives %d\t%s\t%s\n", c.Kind, c.Weight, c.Text, api.Age(c.Since, now))
		}
		for _, m := range rs.Missing {
			fmt.Fprintf(w, "  needs %s\n", m)
		}
		for _, c := range rs.Checks {
			fmt.Fprintf(w, "  check %s %s: %s\n", cmp.Or(c.Name, c.Type), c.Address, c.Health)
			last := c.History[max(0, len(c.History)-shownProbes):]
			for _, p := range slices.Backward(last) {
				took := time.Duration(p.Took * float64(time.Second)).Round(10 * time.Microsecond)
				fmt.Fprintf(w, "    %s\t%s\t%s\t%s\t%s\n", p.At.Local().Format("15:04:05.000"), p.Reason, p.Phase, took, p.Detail)
			}
		}
	}
	return w.Flush()
}
