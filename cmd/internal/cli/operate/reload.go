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
		Use:     "reload",
		Example: "  lvsd plan && lvsd reload",
		Short:   "Reload the configuration and print the result",
		Long:    "Makes the daemon reload its configuration file, waits until the new configuration is\nin the kernel or is rejected, and prints the result. A rejected file changes nothing.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			began := time.Now()
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
				if v.OK {
					printOutdated(command.Stdout, outdated(ctx, o.Client(socket).Status, v.Hash, began))
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
		fmt.Fprintf(command.Stderr, "reload rejected; still running configuration %s\n", v.Hash)
	case len(v.Pending) > 0:
		fmt.Fprintf(command.Stderr, "configuration %s is running, but the kernel rejected part of it; lvsd retries\n", v.Hash)
	default:
		fmt.Fprintf(command.Stdout, "reloaded; running configuration %s\n", v.Hash)
	}
}

// outdated returns the directors that run another configuration after a reload. What one
// replied before the reload began may be older than its own reload: then its next reply is
// waited for.
func outdated(ctx context.Context, status func(context.Context) (api.Status, error), hash string, began time.Time) (names []string) {
	for limit := time.Now().Add(replyLimit); ; {
		s, err := status(ctx)
		if err != nil {
			return nil // of a daemon that ended since; the reload succeeded
		}
		names = nil
		early := false
		for _, p := range s.Peers {
			if p.Up && p.ConfigHash != hash {
				names = append(names, p.Director)
				early = early || p.At.Before(began)
			}
		}
		if !early || time.Now().After(limit) {
			return names
		}
		select {
		case <-ctx.Done():
			return names
		case <-time.After(replyPoll):
		}
	}
}

const (
	// replyLimit is longer than a peer takes to reply again, or to count as down.
	replyLimit = 3 * time.Second
	replyPoll  = 100 * time.Millisecond
)

// printOutdated names the directors that run another configuration.
func printOutdated(out io.Writer, names []string) {
	if names != nil {
		fmt.Fprintf(out, "different configuration on %s: run lvsd reload there with the same file\n", strings.Join(names, ", "))
	}
}

// reloadTimeout bounds a reload: parsing a very large file and writing all of it to the
// kernel takes seconds.
const reloadTimeout = time.Minute
