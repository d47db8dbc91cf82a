// This file has lvsd run.

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/daemon"
)

func runCommand(o *command.Options) *cobra.Command {
	var strict bool
	var stateDir string
	cmd := &cobra.Command{
		Use:     "run",
		Example: "  lvsd run -c /etc/lvsd/lvsd.toml --director lb1",
		Short:   "Run the daemon in the foreground",
		Long:    "Runs the daemon in the foreground and logs to stderr. SIGHUP reloads the\nconfiguration; SIGTERM and SIGINT hand over to the peer and stop. If the file\nis rejected, it starts with the last good configuration of this director, if state_dir\nhas one, and reports that; with --strict it exits instead.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			version, commit := o.BuildVersion()
			d, err := daemon.New(daemon.Options{Source: &o.Source, Strict: strict, StateDir: stateDir, Version: version, Commit: commit})
			if err != nil {
				return refused(err)
			}
			return d.Run(cmd.Context())
		}),
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit if the file is rejected, even if there is a last good configuration")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the `DIR` of the last good configuration if the file is unreadable (default: [global] state_dir)")
	return cmd
}

// refused prints every reason for not starting on a line of its own.
func refused(err error) error {
	for _, line := range api.Lines(err) {
		fmt.Fprintf(command.Stderr, "lvsd: %s\n", line)
	}
	return command.ExitCode(command.Failed)
}
