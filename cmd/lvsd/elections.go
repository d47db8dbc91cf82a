package main

// lvsd elections: the process of the elections, which `lvsd run` starts for
// itself. It is no command for people: it obeys what comes on its input.

import (
	"os"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/vrrpproc"
)

func electionsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:    "elections",
		Short:  "Run the elections of a daemon (lvsd run starts it)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: works(func(*cobra.Command, []string) error {
			log := logging.New(os.Stderr, format)
			defer log.Close()
			return vrrpproc.Serve(os.Stdin, os.Stdout, log.Logger, log.SetLevel)
		}),
	}
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

// elections is the process of the daemon's elections. It runs this very program,
// also when the file has been replaced by another version meanwhile.
func elections(format string, o vrrpproc.Options) *vrrpproc.Process {
	o.Command = []string{"/proc/self/exe", "elections", "--log-format", format}
	return vrrpproc.New(o)
}
