// This file has lvsd why.

package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
	"lvsd/cmd/internal/decision"
)

func whyCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:     "why SERVICE [REAL] | why ANNOUNCE",
		Example: "  lvsd why web\n  lvsd why web 10.0.0.20:80",
		Short:   "Explain the weights of a service's real servers, or an announcement",
		Long:    "Shows every reason for a real server's weight, each with the limit that it sets, the\nlast probes with phase, duration and response, and what is missing for the\nconfigured weight. For an [[announce]] it shows what its announcement depends on.",
		Args:    cobra.RangeArgs(1, 2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), status.Timeout)
			defer cancel()
			client, realServer := o.Client(socket), ""
			if len(args) == 2 {
				realServer = args[1]
			}
			why, err := client.Why(ctx, args[0], realServer)
			if err != nil && len(args) == 1 {
				if s, _ := client.Status(ctx); slices.ContainsFunc(s.Announces, func(a api.AnnounceStatus) bool { return a.Name == args[0] }) {
					return whyAnnounced(command.Stdout, s, args[0], asJSON)
				}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return command.PrintJSON(why)
			}
			return printWhy(command.Stdout, why, time.Now())
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// shownProbes is how many of the last probes are printed; --json has all.
const shownProbes = 5

func printWhy(out io.Writer, why api.Why, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "line numbers refer to %s\n", why.File)
	for _, rs := range why.Servers {
		fmt.Fprintf(w, "%s %s: weight %s of %d, %s\n", why.Service, rs.Address, status.Weight(rs.Weight), rs.Configured, status.Health(rs.RealServerStatus))
		for _, c := range rs.Causes {
			fmt.Fprintf(w, "  limit from %s:\t%d\t%s\t%s\n", limitOf(c.Kind), c.Weight, c.Text, api.Age(c.Since, now))
		}
		if rs.ProbedBy != "" {
			fmt.Fprintf(w, "  probed by director %s (probe_share), and rarely from here\n", rs.ProbedBy)
		}
		for _, m := range rs.Missing {
			fmt.Fprintf(w, "  waiting for: %s\n", m)
		}
		for _, c := range rs.Checks {
			fmt.Fprintf(w, "  check %s %s: %s\n", cmp.Or(c.Name, c.Type), c.Address, c.Health)
			last := c.History[max(0, len(c.History)-shownProbes):]
			for _, p := range slices.Backward(last) {
				took := time.Duration(p.Took * float64(time.Second)).Round(10 * time.Microsecond)
				fmt.Fprintf(w, "    %s\t%s\t%s\t%s\t%s\n", p.At.Local().Format("15:04:05.000"), p.Reason, p.Phase, took, p.Detail)
			}
		}
	}
	return w.Flush()
}

// limitOf names a kind of cause.
func limitOf(kind decision.CauseKind) string {
	switch kind {
	case decision.CauseConfigured:
		return "configuration"
	case decision.CauseHealth:
		return "health checks"
	}
	return strings.ReplaceAll(string(kind), "_", " ")
}

// whyAnnounced prints what the decision on an announcement depends on.
func whyAnnounced(out io.Writer, s api.Status, name string, asJSON bool) error {
	a := s.Announces[slices.IndexFunc(s.Announces, func(a api.AnnounceStatus) bool { return a.Name == name })]
	if asJSON {
		return command.PrintJSON(a)
	}
	state := func(announced, serving, kept bool) string {
		switch {
		case kept:
			return "announced only because no other director is serving"
		case announced && !serving:
			return "announced, not serving"
		case announced:
			return "announced, serves"
		}
		return "not announced"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s since %s: %s\n", a.Name, state(a.Announced, a.Serving, a.Kept), status.Clock(a.Since, s.At), a.Why)
	daemon := "not found at its usual control socket"
	if a.RoutingDaemon != nil {
		daemon = map[bool]string{true: "runs", false: "does not run"}[*a.RoutingDaemon]
	}
	fmt.Fprintf(w, "  routing daemon\t%s\n", daemon)
	for _, v := range a.Addresses {
		accepted, routed := "accepted by this host", fmt.Sprintf("has a route in table %d with metric %d", a.Table, a.Metric)
		if !v.Accepted {
			accepted = "NOT accepted by this host"
		}
		if !v.Routed {
			routed = fmt.Sprintf("has no route in table %d", a.Table)
		}
		fmt.Fprintf(w, "  address %s\t%s, %s\n", v.Address, accepted, routed)
	}
	for _, svc := range s.Services {
		if slices.Contains(a.Services, svc.Name) {
			quorum := map[bool]string{true: "has its quorum", false: "QUORUM LOST"}[svc.Up]
			fmt.Fprintf(w, "  service %s\t%s: available weight %d, needs %d\n", svc.Name, quorum, svc.AvailableWeight, svc.Quorum)
		}
	}
	if s.Guard != nil && s.Guard.Active {
		fmt.Fprintf(w, "  guard\thealth is frozen: %s\n", s.Guard.Why)
	}
	for _, p := range s.Peers {
		text := "does not reply: " + p.Error
		if i := slices.IndexFunc(p.Announces, func(o api.PeerAnnounce) bool { return o.Name == name }); p.Up && i >= 0 {
			o := p.Announces[i]
			text = fmt.Sprintf("%s since %s: %s", state(o.Announced, o.Serving, o.Kept), status.Clock(o.Since, s.At), o.Why)
		} else if p.Up {
			text = "not in its configuration"
		}
		fmt.Fprintf(w, "  director %s\t%s\n", p.Director, text)
	}
	if s.Routes != nil {
		for _, e := range s.Routes.Errors {
			fmt.Fprintf(w, "  error\t%s\n", e)
		}
	}
	return w.Flush()
}
