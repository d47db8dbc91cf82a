// This file has lvsd export.

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/ipvs/ipvsadm"
	"lvsd/ipvs/netlink"
)

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the kernel's table in another tool's words",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "ipvsadm",
		Short: "Print the kernel's table as ipvsadm -S -n does, with thresholds",
		Long:  "Reads the kernel's table, whoever wrote it, and prints it as ipvsadm -S -n does:\nipvsadm -R makes the same table of it. Thresholds, which ipvsadm leaves out, are\nin it. It needs no daemon, and changes nothing.",
		Args:  cobra.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			kernel, err := netlink.Open()
			if err != nil {
				return err
			}
			defer kernel.Close()
			reading, err := kernel.Read()
			if err != nil {
				return fmt.Errorf("failed to read the kernel's table: %w", err)
			}
			fmt.Fprint(command.Stdout, ipvsadm.Format(reading.Table))
			return nil
		}),
	})
	return cmd
}
