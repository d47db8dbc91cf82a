// This file has lvsd cleanup.

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/daemon"
	"lvsd/cmd/internal/printable"
)

func cleanupCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var folder string
	cmd := &cobra.Command{
		Use:     "cleanup",
		Example: "  lvsd cleanup",
		Short:   "Remove the addresses that a crashed daemon left behind",
		Long: "Removes from this host's interfaces the virtual addresses that a crashed daemon\nhad, as recorded in state_dir, with the routes and rules that move with them, so that\nthey are on one director only. It refuses while a daemon runs. The kernel's IPVS\ntable is not touched. If the record cannot be read, or state_dir cannot be written,\nthe addresses of the configuration are removed as well.\n\n" +
			"As ExecStopPost= of a systemd unit it keeps the addresses after a first crash, since\nthe restarted daemon continues to serve them. They are removed if that one does not\nstart either, or if none is started.",
		Args: command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			c, _, err := o.Load()
			if err != nil {
				c = nil // the record alone says what to remove
			}
			if folder == "" {
				folder = o.StateDir()
			}
			v, err := daemon.CleanUp(folder, c, daemon.Restarts(os.Getenv("SERVICE_RESULT")))
			switch {
			case err != nil && len(v.Removed)+len(v.Withdrawn) == 0:
			case asJSON:
				err = errors.Join(err, command.PrintJSON(v))
			default:
				printCleanup(v)
			}
			if !v.Skipped {
				paceRestarts(cmd.Context())
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&folder, "state-dir", "", "the daemon's `FOLDER` (default: the configuration's state_dir)")
	return cmd
}

// refusedPause is how long systemd waits longer before it starts a refused daemon again.
const refusedPause = 2 * time.Second

// paceRestarts waits as ExecStopPost= of a daemon that was refused (systemd.exec(5),
// $EXIT_STATUS): before version 254 systemd has no RestartSteps, and would start it ten
// times a second, forever. Nothing is on the interfaces any more, and a daemon that was
// killed or crashed is started again at once.
func paceRestarts(ctx context.Context) {
	if os.Getenv("SERVICE_RESULT") != "exit-code" || os.Getenv("EXIT_STATUS") != strconv.Itoa(command.Failed) {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(refusedPause):
	}
}

func printCleanup(v daemon.Cleanup) {
	switch {
	case v.Skipped:
		fmt.Fprintln(command.Stdout, "addresses are kept for the restarted daemon")
	case len(v.Removed)+len(v.Withdrawn) == 0 && v.Rules == 0:
		fmt.Fprintln(command.Stdout, "nothing to clean up")
	}
	for _, r := range v.Removed {
		fmt.Fprintf(command.Stdout, "%s: removed %s from %s\n", r.VRRP, r.Address, r.Interface)
	}
	for _, a := range v.Withdrawn {
		fmt.Fprintf(command.Stdout, "withdrew %s\n", a)
	}
	if v.Rules > 0 {
		fmt.Fprintf(command.Stdout, "removed %s, which kept unknown connections from being reset\n", printable.Count(v.Rules, "routing rule"))
	}
}
