// This file has lvsd probe.

package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
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
		Use:   "probe [SERVICE [REAL]]",
		Short: "Run the configured checks once and show what happens",
		Long: "Runs the checks of a real server, a service, or all of them once, from this shell,\nby the daemon's own code, and prints what each did, phase by phase: the name, the\nconnection, TLS, what was sent, and the first bytes of the answer. The daemon hears\nnothing of it. Checks with through = true need the path that it has laid in the\nkernel: it is asked to run those of its own configuration.\n\n" +
			"Exits 0 when every check is good, 1 when one is not.",
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
		for i, rs := range svc.RealServers {
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
			return nil, fmt.Errorf("service %s has no real server %s", args[0], args[1])
		}
	}
	if len(args) > 0 && !slices.Contains(names, args[0]) {
		return nil, fmt.Errorf("there is no service %q; there are: %s", args[0], strings.Join(names, ", "))
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
	left := "its path through the kernel is the daemon's to lay: "
	switch {
	case err != nil:
		left += err.Error()
	case len(all) == 0:
		left += "the one that runs probes nothing through to this server: lvsd plan shows how this file differs from what runs"
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
		through = ", through to this server, by the daemon"
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
