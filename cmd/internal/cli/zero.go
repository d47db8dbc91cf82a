// This file has lvsd zero.

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lvsd/cmd/internal/cli/status"

	"github.com/spf13/cobra"
)

func zeroCommand(o *options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:   "zero [SERVICE]",
		Short: "Set the kernel's counters to zero",
		Long:  "Sets the kernel's counters of a virtual service and its real servers to zero,\nwithout SERVICE those of all services of the configuration. Connections are not\ntouched. Counters in /metrics fall back to zero, too.",
		Args:  cobra.MaximumNArgs(1),
		RunE: asFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), status.Timeout)
			defer cancel()
			zeroed, err := o.client(socket).Zero(ctx, strings.Join(args, ""))
			if err != nil {
				return err
			}
			slices.Sort(zeroed.Services)
			if asJSON {
				return printJSON(zeroed)
			}
			fmt.Fprintf(stdout, "set to zero: %s\n", strings.Join(zeroed.Services, ", "))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	socketFlag(cmd, &socket)
	return cmd
}
