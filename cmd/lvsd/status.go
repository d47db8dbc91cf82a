package main

// lvsd status: the daemon's state on one screen, the worst first.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
)

func statusCommand(o *options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show elections, virtual services and real servers",
		Long:  "Shows who is master, every virtual service and every real server with its\nweight, the reason for it and its connections. Exits 1 when something is wrong.",
		Args:  cobra.NoArgs,
		RunE: works(func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), statusLimit)
			defer cancel()
			s, err := o.client(socket).Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(s)
			} else {
				err = printStatus(os.Stdout, s)
			}
			if err != nil {
				return err
			}
			if !s.Healthy {
				return exitCode(exitFailed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	socketFlag(cmd, &socket)
	return cmd
}

const statusLimit = 10 * time.Second

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printStatus writes one screen for people.
func printStatus(out io.Writer, s api.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "director %s, configuration %s since %s\n", s.Director, s.Config.Hash, clock(s.Config.LoadedAt, s.At))
	for _, p := range s.Problems {
		fmt.Fprintf(w, "! %s\n", p)
	}
	if len(s.VRRP) > 0 {
		fmt.Fprintf(w, "\nVRRP\tSTATE\tPRIORITY\tINTERFACE\tADDRESSES\tSINCE\n")
	}
	for _, e := range s.VRRP {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", e.Name, electionState(e), e.Priority, e.Interface, addresses(e), since(e, s.At))
	}
	for _, svc := range s.Services {
		state := "up"
		if !svc.Up {
			state = "DOWN"
		}
		fmt.Fprintf(w, "\nSERVICE %s %s %s %s: %s, weight alive %d (quorum %d)\n", svc.Name, svc.Protocol, svc.Address, svc.Scheduler, state, svc.WeightAlive, svc.Quorum)
		fmt.Fprintf(w, "  REAL SERVER\tWEIGHT\tOF\tHEALTH\tACTIVE\tINACTIVE\tWHY\n")
		for _, rs := range svc.RealServers {
			fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%d\t%d\t%s\n", rs.Address, weight(rs), rs.Configured, health(rs), rs.Active, rs.Inactive, why(rs))
		}
	}
	return w.Flush()
}

// electionState names the state, and the master that is heard while it is
// another director.
func electionState(e api.ElectionStatus) string {
	if e.State == "backup" && e.Master != "" {
		return fmt.Sprintf("backup of %s (priority %d)", e.Master, e.MasterPriority)
	}
	return e.State
}

func addresses(e api.ElectionStatus) string {
	if !e.Holding {
		return "not here"
	}
	texts := make([]string, len(e.Addresses))
	for i, a := range e.Addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

func since(e api.ElectionStatus, now time.Time) string {
	text := clock(e.Since, now)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

func weight(rs api.RealServerStatus) string {
	if rs.Weight == nil {
		return "-"
	}
	return strconv.Itoa(*rs.Weight)
}

func health(rs api.RealServerStatus) string {
	if rs.Draining {
		return rs.Verdict + ", draining"
	}
	return rs.Verdict
}

// why is the cause of the weight; for a server at its full weight the last
// probe says more.
func why(rs api.RealServerStatus) string {
	if rs.Wanted == rs.Configured && !rs.Draining && rs.LastProbe != nil {
		p := rs.LastProbe
		return fmt.Sprintf("%s %s in %s", p.Type, p.Reason, (time.Duration(p.Took * float64(time.Second))).Round(10*time.Microsecond))
	}
	return rs.Why
}

// clock names a moment: the time of day, with the date when it is not today's.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
