// This file has lvsd watch.

package observe

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func watchCommand(o *command.Options) *cobra.Command {
	var socket string
	w := status.Watcher{In: os.Stdin, Out: os.Stdout}
	cmd := &cobra.Command{
		Use:   "watch [SERVICE]...",
		Short: "Show the status, live",
		Long: "Shows what lvsd status shows, and draws it again every second. Keys: q ends;\nthe arrows, page up and down move; u shows only what does not serve with its full\n" +
			"weight, a shows all, s changes the order.",
		Args: func(cmd *cobra.Command, args []string) error {
			if w.Every < 100*time.Millisecond {
				return errors.New("--interval must be at least 100ms")
			}
			return w.Wanted.Check(cmd, args)
		},
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			w.Client = o.Client(socket)
			w.Wanted.Services = append(w.Wanted.Services, args...)
			return w.Run(cmd.Context())
		}),
	}
	cmd.Flags().DurationVar(&w.Every, "interval", time.Second, "how often the daemon is asked")
	w.Wanted.Flags(cmd)
	command.SocketFlag(cmd, &socket)
	return cmd
}
