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
		Use:     "watch [SERVICE]...",
		Example: "  lvsd watch\n  lvsd watch web --unhealthy",
		Short:   "Show the status, live",
		Long: "Shows what lvsd status shows, refreshed every second. Keys: ? help, q quit, arrows\nscroll, / filter services and real servers by name or address, u only what does not\n" +
			"serve with its full weight, a all, s sort order.",
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
	cmd.Flags().DurationVar(&w.Every, "interval", time.Second, "time between two refreshes")
	w.Wanted.Flags(cmd)
	command.SocketFlag(cmd, &socket)
	return cmd
}
