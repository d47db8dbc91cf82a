// This file has lvsd run.

package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/daemon"
)

func runCommand(o *command.Options) *cobra.Command {
	var strict bool
	var stateDir string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long:  "Runs the daemon in the foreground and logs to stderr. SIGHUP reloads the\nconfiguration; SIGTERM and SIGINT hand over to the peer and stop. Where the file\nis refused it starts from the copy of what ran before under this director's name,\nif state_dir has one, and says so; --strict refuses instead.",
		Args:  cobra.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			version, commit := o.BuildVersion()
			d, err := daemon.New(daemon.Options{Source: &o.Source, Strict: strict, StateDir: stateDir, Version: version, Commit: commit})
			if err != nil {
				code := refused(err)
				paceRestarts(cmd.Context())
				return code
			}
			return d.Run(cmd.Context())
		}),
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit when the file is refused, also where a copy of what ran before is kept")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the `DIR` in which the copy is looked for when the file cannot say (default: [global] state_dir)")
	return cmd
}

// refusedPause is how long a start that was refused takes to end under systemd.
const refusedPause = 2 * time.Second

// paceRestarts waits under systemd (sd_notify(3)), which starts a refused daemon again for
// ever: before version 254, without RestartSteps, ten times a second.
func paceRestarts(ctx context.Context) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(refusedPause):
	}
}

// refused prints every reason for not starting on a line of its own.
func refused(err error) error {
	for _, line := range api.Lines(err) {
		fmt.Fprintf(command.Stderr, "lvsd: %s\n", line)
	}
	return command.ExitCode(command.Failed)
}
