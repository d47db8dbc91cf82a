// This file has lvsd zero.

package operate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func zeroCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:     "zero [SERVICE]",
		Example: "  lvsd zero web",
		Short:   "Reset the kernel's counters to zero",
		Long:    "Resets the kernel's counters of a virtual service and its real servers to zero,\nwithout SERVICE those of all configured services. Connections are not affected.\nThe counters in /metrics are reset as well.",
		Args:    cobra.MaximumNArgs(1),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), status.Timeout)
			defer cancel()
			zeroed, err := o.Client(socket).Zero(ctx, strings.Join(args, ""))
			if err != nil {
				return err
			}
			slices.Sort(zeroed.Services)
			if asJSON {
				return command.PrintJSON(zeroed)
			}
			fmt.Fprintf(command.Stdout, "counters reset: %s\n", strings.Join(zeroed.Services, ", "))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SocketFlag(cmd, &socket)
	return cmd
}
