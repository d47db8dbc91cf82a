package operate

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
)

func reloadCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon reload its configuration, and print the result",
		Long:  "Asks the daemon to read its configuration file again, waits until it runs in the\nkernel or was refused, and prints which. A refused file changes nothing.",
		Args:  cobra.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			v, err := o.Client(socket).Reload(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				if err := command.PrintJSON(v); err != nil {
					return err
				}
			} else {
				printReload(v)
				if s, err := o.Client(socket).Status(ctx); err == nil && v.OK {
					printOutdated(command.Stdout, v.Hash, s.Peers)
				}
			}
			if !v.OK || len(v.Pending) > 0 {
				return command.ExitCode(command.Failed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// printReload prints the outcome of a reload. A configuration of which the kernel
// rejects a part is not a success.
func printReload(v api.ReloadResult) {
	for _, w := range v.Warnings {
		fmt.Fprintln(command.Stderr, w, "(warning)")
	}
	for _, e := range slices.Concat(v.Errors, v.Pending) {
		fmt.Fprintln(command.Stderr, e)
	}
	switch {
	case !v.OK:
		fmt.Fprintf(command.Stderr, "refused, configuration %s goes on\n", v.Hash)
	case len(v.Pending) > 0:
		fmt.Fprintf(command.Stderr, "configuration %s runs, but the kernel has not taken all of it; it is tried again\n", v.Hash)
	default:
		fmt.Fprintf(command.Stdout, "reloaded, configuration %s runs\n", v.Hash)
	}
}

// printOutdated names the directors that run another configuration after a reload.
func printOutdated(out io.Writer, hash string, peers []api.PeerStatus) {
	var names []string
	for _, p := range peers {
		if p.Up && p.ConfigHash != hash {
			names = append(names, p.Director)
		}
	}
	if names != nil {
		fmt.Fprintf(out, "another configuration runs on %s: run lvsd reload there with the same file\n", strings.Join(names, ", "))
	}
}

// reloadTimeout bounds a reload: parsing a very large file and writing all of it to the
// kernel takes seconds.
const reloadTimeout = time.Minute
