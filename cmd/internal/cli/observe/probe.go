// This file has lvsd probe.

package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lvsd/checker"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
	"lvsd/cmd/internal/director"
	"lvsd/config"
)

func probeCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	var socket string
	cmd := &cobra.Command{
		Use:     "probe [SERVICE [REAL]]",
		Example: "  lvsd probe\n  lvsd probe web 10.0.0.20:80",
		Short:   "Run the configured checks once and show what happens",
		Long: "Runs the checks of a real server, of a service or of all services once, with the\ndaemon's own code but in this process, and prints each phase: name resolution,\nconnection, TLS, the request and the first bytes of the response. It does not affect\nthe daemon's health results. Checks with through = true need the daemon's path\nthrough the kernel: the daemon runs those of its own configuration.\n\n" +
			"Exits 0 if every check succeeds, 1 if one fails.",
		Args: cobra.MaximumNArgs(2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			c, _, err := o.Load()
			if err != nil {
				return err
			}
			work, err := probesOf(c, args)
			if err != nil {
				return err
			}
			good := true
			for _, w := range work {
				all, err := w.run(cmd.Context(), o.Client(socket))
				if err != nil {
					return err
				}
				for _, out := range all {
					good = good && out.Good
					print := printProbe
					if asJSON {
						print = func(w io.Writer, out api.ProbeReport) error { return command.PrintLine(w, out) }
					}
					if err := print(command.Stdout, out); err != nil {
						return err
					}
				}
			}
			if !good {
				return command.ExitCode(command.Failed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one check a line")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// oneProbe is one check of a real server, or all that go through the kernel.
type oneProbe struct {
	id      checker.ID
	check   probe.Check
	through bool
}

// probesOf lists the requested checks in the order of the file.
func probesOf(c *config.Config, args []string) ([]oneProbe, error) {
	var all []oneProbe
	var names []string
	for _, svc := range c.Services {
		names = append(names, svc.Name)
		if len(args) > 0 && svc.Name != args[0] {
			continue
		}
		targets, err := director.Probes(c, svc)
		if err != nil {
			return nil, err
		}
		var servers []string
		for i, rs := range svc.RealServers {
			servers = append(servers, rs.Address.String())
			if len(args) > 1 && !api.MeansServer(rs.Address.String(), args[1]) {
				continue
			}
			for _, check := range targets[i].Checks {
				all = append(all, oneProbe{id: targets[i].ID, check: check})
			}
			if slices.ContainsFunc(rs.Checks, func(c config.Check) bool { return c.Through }) {
				all = append(all, oneProbe{id: targets[i].ID, through: true})
			}
		}
		if len(args) > 1 && len(all) == 0 {
			return nil, api.UnknownServer(args[0], args[1], servers)
		}
	}
	if len(args) > 0 && !slices.Contains(names, args[0]) {
		return nil, api.UnknownService(args[0], names)
	}
	return all, nil
}

func (p oneProbe) run(ctx context.Context, daemon *api.Client) ([]api.ProbeReport, error) {
	if p.through {
		return p.runMarkProbes(ctx, daemon), nil
	}
	t, err := probe.Once(ctx, p.check)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", p.id.RealServer, p.id.Service, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("interrupted: %w", err)
	}
	return []api.ProbeReport{api.NewProbeReport(p.id, p.check, t)}, nil
}

// runMarkProbes makes the daemon run checks through the kernel.
func (p oneProbe) runMarkProbes(ctx context.Context, daemon *api.Client) []api.ProbeReport {
	all, err := daemon.RunMarkProbes(ctx, p.id)
	left := "this check runs through the kernel, which needs the daemon: "
	switch {
	case err != nil:
		left += err.Error()
	case len(all) == 0:
		left += "the running configuration has no check with through = true for this server; lvsd plan shows how this file differs from it"
	default:
		return all
	}
	return []api.ProbeReport{{Service: p.id.Service, RealServer: p.id.RealServer, MarkProbe: true, NotRun: left, Steps: []api.ProbeStep{}}}
}

func printProbe(w io.Writer, p api.ProbeReport) error {
	if p.NotRun != "" {
		_, err := fmt.Fprintf(w, "%s %s: not run: %s\n", p.Service, p.RealServer, p.NotRun)
		return err
	}
	through := ""
	if p.MarkProbe {
		through = ", through the kernel, by the daemon"
	}
	fmt.Fprintf(w, "%s %s: %s check of %s%s\n", p.Service, p.RealServer, cmp.Or(p.Probe.Check, p.Probe.Type), p.Address, through)
	for _, s := range p.Steps {
		fmt.Fprintf(w, "  %9s  %-8s %s\n", tookText(s.After), s.Phase, s.Text)
	}
	text := p.Probe.Reason
	if p.Probe.Phase != "" && !p.Good {
		text += " in phase " + p.Probe.Phase
	}
	_, err := fmt.Fprintf(w, "  %9s  %s%s\n", tookText(p.Probe.Took), text, status.Detail(p.Probe.Detail))
	return err
}

func tookText(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}
