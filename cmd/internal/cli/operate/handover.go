// This file has lvsd handover.

package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func handoverCommand(o *command.Options) *cobra.Command {
	var asJSON, force, end bool
	var lasts time.Duration
	var socket string
	cmd := &cobra.Command{
		Use:     "handover [NAME]",
		Example: "  lvsd handover --for 1h\n  lvsd handover --end",
		Short:   "Hand the addresses over to the peer and enter standby, or end it",
		Long: "If this director is master, it hands its addresses over to the peer without losing\n" +
			"a packet and prints how long that took. Then it is on standby, also across restarts:\n" +
			"it does not preempt, and takes over only when there is no master, until --end or\n" +
			"until the time of --for has passed. Addresses of an [[announce]] are withdrawn, so that\n" +
			"routers use the other directors, and announced only while no other director\n" +
			"announces them. NAME is one VRRP instance, with its sync group, or one\n" +
			"announcement (default: all).",
		Args: cobra.MaximumNArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case end && (force || cmd.Flags().Changed("for")):
			return errors.New("--end cannot be combined with --for or --force")
		case cmd.Flags().Changed("for") && lasts <= 0:
			return fmt.Errorf("--for %v: must be a positive duration, such as 1h", lasts)
		}
		return command.AsFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), handoverTimeout)
			defer cancel()
			client, instance := o.Client(socket), strings.Join(args, "")
			var h api.Handover
			var err error
			if end {
				h, err = client.EndHandover(ctx, instance)
			} else {
				h, err = client.HandOver(ctx, instance, lasts, force)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = command.PrintJSON(h)
			} else {
				printHandover(command.Stdout, command.Stderr, h, end)
			}
			if err == nil && !h.OK {
				err = command.ExitCode(command.Failed)
			}
			return err
		})(cmd, args)
	}
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long standby lasts, such as 1h (default: until --end)")
	cmd.Flags().BoolVar(&force, "force", false, "hand over even if no ready peer is known")
	cmd.Flags().BoolVar(&end, "end", false, "end standby: take part again as configured")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// handoverTimeout is above what the longest intervals and handover_limit allow.
const handoverTimeout = 5 * time.Minute

// printHandover prints the outcome of each instance.
func printHandover(out, problems io.Writer, h api.Handover, end bool) {
	for _, r := range h.Refused {
		fmt.Fprintf(problems, "refused: %s\n", r)
	}
	for _, name := range h.Ended {
		fmt.Fprintf(out, "%s: standby ended; this director takes part again as configured\n", name)
	}
	if end && h.OK && len(h.Ended) == 0 {
		fmt.Fprintln(out, "no handover is active")
	}
	away := "until lvsd handover --end"
	if !h.Until.IsZero() {
		away = "until " + status.Clock(h.Until, time.Now())
	}
	for _, e := range h.Instances {
		switch {
		case e.Announce != "" && e.Failed != "":
			fmt.Fprintf(problems, "%s: %s\n", e.Announce, e.Failed)
		case e.Announce != "" && e.WasMaster:
			fmt.Fprintf(out, "%s: withdrawn after %s; standby %s\n", e.Announce, seconds(e.Removed), away)
		case e.Announce != "":
			fmt.Fprintf(out, "%s: was not announced; standby %s\n", e.Announce, away)
		case e.Failed != "":
			fmt.Fprintf(problems, "%s: %s\n", e.VRRP, e.Failed)
		case e.WasMaster:
			fmt.Fprintf(out, "%s: handed over to %s in %s (addresses removed here after %s); standby %s\n",
				e.VRRP, e.To, seconds(e.Took), seconds(e.Removed), away)
		default:
			fmt.Fprintf(out, "%s: this director is not master; standby %s\n", e.VRRP, away)
		}
	}
}

func seconds(s float64) string { return fmt.Sprintf("%.3f s", s) }
