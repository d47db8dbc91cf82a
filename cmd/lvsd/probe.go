package main

// lvsd probe: the checks of the configuration, run once from this shell.

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/director"
	"lvsd/config"
)

func probeCommand(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "probe [SERVICE [REAL]]",
		Short: "Run the configured checks once and show what happens",
		Long: "Runs the checks of a real server, a service, or all of them once, from this shell,\nby the daemon's own code, and prints what each did, phase by phase: the name, the\nconnection, TLS, what was sent, and the first bytes of the answer. The daemon is\nnot asked and hears nothing of it.\n\n" +
			"Exits 0 when every check is good, 1 when one is not.",
		Args: cobra.MaximumNArgs(2),
		RunE: works(func(cmd *cobra.Command, args []string) error {
			c, _, err := o.load()
			if err != nil {
				return err
			}
			work, err := probesOf(c, args)
			if err != nil {
				return err
			}
			good := true
			for _, w := range work {
				out, err := w.run(cmd.Context())
				if err != nil {
					return err
				}
				good = good && out.Good
				if asJSON {
					err = printLine(os.Stdout, out)
				} else {
					err = printProbe(os.Stdout, out)
				}
				if err != nil {
					return err
				}
			}
			if !good {
				return exitCode(exitFailed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one check a line")
	return cmd
}

// oneProbe is a check of a real server that is to be run.
type oneProbe struct {
	service, real string
	check         checker.Check
	left          string // why it is not run; "": it is
}

// probesOf lists what is asked for, in the order of the file.
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
		for _, rs := range svc.RealServers {
			if len(args) > 1 && rs.Address.String() != args[1] {
				continue
			}
			id := director.ServerID(svc, rs)
			i := slices.IndexFunc(targets, func(t checker.Target) bool { return t.ID == id })
			if i < 0 {
				all = append(all, oneProbe{service: svc.Name, real: rs.Address.String(),
					left: "it is probed through the kernel's own path (through = true), which only the daemon lays: lvsd why shows its probes"})
				continue
			}
			for _, check := range targets[i].Checks {
				all = append(all, oneProbe{service: svc.Name, real: rs.Address.String(), check: check})
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

func (p oneProbe) run(ctx context.Context) (api.ProbeReport, error) {
	out := api.ProbeReport{Service: p.service, RealServer: p.real, Left: p.left, Steps: []api.ProbeStep{}}
	if p.left != "" {
		out.Good = true // nothing is known against it
		return out, nil
	}
	t, err := checker.Once(ctx, p.check)
	if err != nil {
		return out, fmt.Errorf("%s of %s: %w", p.real, p.service, err)
	}
	if err := ctx.Err(); err != nil {
		return out, fmt.Errorf("interrupted: %w", err)
	}
	out.Good = t.Reason == checker.OK
	out.Address = p.check.Target()
	out.Probe = &api.Probe{At: t.At, Type: p.check.Type, Reason: string(t.Reason), Phase: t.Phase, Detail: t.Detail, Took: t.Took.Seconds()}
	for _, l := range t.Steps {
		out.Steps = append(out.Steps, api.ProbeStep{After: l.After.Seconds(), Phase: l.Phase, Text: l.Text})
	}
	return out, nil
}

func printProbe(w io.Writer, p api.ProbeReport) error {
	if p.Left != "" {
		_, err := fmt.Fprintf(w, "%s %s: not run: %s\n", p.Service, p.RealServer, p.Left)
		return err
	}
	fmt.Fprintf(w, "%s %s: %s check of %s\n", p.Service, p.RealServer, p.Probe.Type, p.Address)
	for _, s := range p.Steps {
		fmt.Fprintf(w, "  %9s  %-8s %s\n", tookText(s.After), s.Phase, s.Text)
	}
	text := p.Probe.Reason
	if p.Probe.Phase != "" && !p.Good {
		text += " in phase " + p.Probe.Phase
	}
	_, err := fmt.Fprintf(w, "  %9s  %s%s\n", tookText(p.Probe.Took), text, detail(p.Probe.Detail))
	return err
}

func tookText(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}
