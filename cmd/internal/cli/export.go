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
		Short: "Export the IPVS table in another tool's format",
		Args:  command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "ipvsadm",
		Example: "  lvsd export ipvsadm >table\n  ipvsadm -R <table",
		Short:   "Print the kernel's table as ipvsadm -S -n does, with thresholds",
		Long:    "Reads the kernel's table, whichever program wrote it, and prints it in the format of\nipvsadm -S -n, which ipvsadm -R restores. It includes the thresholds, which ipvsadm\nomits. It needs no daemon and changes nothing.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			kernel, err := netlink.Open()
			if err != nil {
				return err
			}
			defer kernel.Close()
			reading, err := kernel.Read()
			if err != nil {
				return fmt.Errorf("failed to read the IPVS table: %w", err)
			}
			fmt.Fprint(command.Stdout, ipvsadm.Format(reading.Table))
			return nil
		}),
	})
	return cmd
}
