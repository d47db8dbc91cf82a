// This file has lvsd elections, the VRRP child process that lvsd run starts. It
// takes its orders from standard input.

package cli

import (
	"os"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/vrrpproc"
)

func electionsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:    "elections",
		Short:  "Run the VRRP instances of a daemon (lvsd run starts it)",
		Hidden: true,
		Args:   command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			log := logging.New(os.Stderr, format)
			defer log.Close()
			return vrrpproc.Serve(os.Stdin, os.Stdout, log.Logger, log.SetLevel)
		}),
	}
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}
