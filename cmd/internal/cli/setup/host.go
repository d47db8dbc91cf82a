// This file has lvsd host.

package setup

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/units"
)

func hostCommand(o *command.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Check or set this director's kernel settings",
		Args:  command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	cmd.AddCommand(hostCheck(o), hostPrepare(o))
	return cmd
}

// HostChecked is the result of host check.
type HostChecked struct {
	OK       bool           `json:"ok"`
	Errors   []string       `json:"errors"` // what would keep lvsd from starting
	Findings []host.Finding `json:"findings"`
}

func hostCheck(o *command.Options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "check",
		Example: "  lvsd host check",
		Short:   "Check whether this machine meets what the configuration needs",
		Long:    "Checks what the configuration needs of this machine: rights, interfaces, IPVS and its\nmodules, forwarding, ARP, source validation, masquerading. Changes\nnothing, except that it loads ip_vs, as a start does.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			c, _, err := o.Load()
			if err != nil {
				return err
			}
			v := HostChecked{Errors: []string{}}
			var errs []error
			errs, v.Findings = host.Check(c)
			for _, m := range errs {
				v.Errors = append(v.Errors, m.Error())
			}
			v.OK = len(v.Errors) == 0
			for _, f := range v.Findings {
				v.OK = v.OK && f.OK
			}
			if asJSON {
				err = command.PrintJSON(v)
			} else {
				err = v.print()
			}
			if err == nil && !v.OK {
				err = command.ExitCode(command.Failed)
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (v HostChecked) print() error {
	for _, e := range v.Errors {
		fmt.Fprintln(command.Stderr, e)
	}
	w := tabwriter.NewWriter(command.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range v.Findings {
		if f.OK {
			fmt.Fprintf(w, "ok\t%s\t%s\n", f.Name, f.Have)
			continue
		}
		fmt.Fprintf(w, "!!\t%s\n", f)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if slices.ContainsFunc(v.Findings, host.Finding.Automatic) {
		fmt.Fprintln(command.Stderr, "run `lvsd host prepare` to apply (--dry-run to preview)")
	}
	return nil
}

func hostPrepare(o *command.Options) *cobra.Command {
	var dry, persist bool
	cmd := &cobra.Command{
		Use:     "prepare",
		Example: "  lvsd host prepare --dry-run\n  lvsd host prepare --persist",
		Short:   "Apply the kernel settings that the configuration needs",
		Long:    "Loads modules, sets sysctls and, for forward = \"nat\", adds the masquerading rule:\nonly what the configuration needs. Each change is printed. The changes do not\noutlive a reboot; --persist enables lvsd-host.service, which makes them at each\nboot.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			if persist && (o.Path != configfile.DefaultPath || o.Director != "") {
				return command.Misuse("--persist is for %s and the host name as director: %s reads no other; change it with systemctl edit", configfile.DefaultPath, units.Host)
			}
			c, _, err := o.Load()
			if err != nil {
				return err
			}
			changes := 0
			err = host.Prepare(c, dry, func(line string) {
				changes++
				if dry {
					line = "would: " + line
				}
				fmt.Fprintln(command.Stdout, line)
			})
			if changes == 0 && err == nil {
				fmt.Fprintln(command.Stdout, "nothing to change")
			}
			if !persist || dry || err != nil {
				return err
			}
			i, err := units.New(printChange)
			if err != nil {
				return err
			}
			return i.Install(units.Host, "", false)
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print the changes without making them")
	cmd.Flags().BoolVar(&persist, "persist", false, "also make the changes at each boot, by systemd")
	return cmd
}
