// This file has lvsd alerts, which works wherever the file is and asks no daemon.

package setup

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/alerts"
	"lvsd/cmd/internal/cli/command"
	"lvsd/config"
)

func alertsCommand(o *command.Options) *cobra.Command {
	rules := alerts.Default()
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "alerts",
		Example: "  lvsd alerts --job lvsd-web >/etc/prometheus/lvsd-web.rules.yml",
		Short:   "Print alert rules for Prometheus, made for this configuration",
		Long: "Prints the rules of docs/alerts/lvsd.rules.yml adapted to the configuration: features\nthat are not used have no rule, and the durations follow from advert_interval and the\nchecks' interval. Both directors of a pair must be scraped under one job of their own,\n" +
			"since the rules combine their metrics. For Prometheus's rule_files:\n\n  lvsd alerts --job lvsd-web >lvsd-web.rules.yml\n\n--scale 0.01 makes rules that wait for seconds only, to try them.",
		Args: command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			for name, d := range map[string]time.Duration{"scrape-interval": rules.Scrape, "drain-limit": rules.Drain, "certificate-limit": rules.Certificate} {
				if d < time.Second {
					return command.Misuse("--%s must be at least 1s, not %s", name, d)
				}
			}
			if rules.Scale <= 0 || rules.Scale > 1000 {
				return command.Misuse("--scale must be above 0 and at most 1000, not %g", rules.Scale)
			}
			if rules.Job == "" {
				return command.Misuse("--job must name the job of the scrape configuration")
			}
			c, err := namesConfig(o)
			if err != nil {
				return err
			}
			rules.Config = c
			groups := alerts.Groups(rules)
			if asJSON {
				text, err := alerts.JSON(groups)
				fmt.Fprint(command.Stdout, string(text))
				return err
			}
			fmt.Fprintf(command.Stdout, "# The alert rules of %s (configuration %s), printed by lvsd alerts.\n%s", o.Path, c.Hash, alerts.YAML(groups))
			return nil
		}),
	}
	cmd.Flags().StringVar(&rules.Job, "job", "lvsd", "the `NAME` of the job that scrapes the pair")
	cmd.Flags().DurationVar(&rules.Scrape, "scrape-interval", rules.Scrape, "scrape interval of Prometheus")
	cmd.Flags().DurationVar(&rules.Drain, "drain-limit", rules.Drain, "a drain or a standby longer than this is considered forgotten")
	cmd.Flags().DurationVar(&rules.Certificate, "certificate-limit", rules.Certificate, "warn this long before a certificate expires")
	cmd.Flags().StringVar(&rules.Runbook, "runbook", rules.Runbook, "the `URL` of the runbook in the alerts' links")
	cmd.Flags().Float64Var(&rules.Scale, "scale", rules.Scale, "factor for all other durations of the rules")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the rules as JSON")
	return cmd
}

// namesConfig is the configuration of this host, or of the first director where this
// host is not one, such as a monitoring machine: the names are the same.
func namesConfig(o *command.Options) (*config.Config, error) {
	file, err := o.Parse()
	if err != nil {
		return nil, err
	}
	name := o.Director
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return nil, err
		}
		if len(file.Directors) > 0 && !slices.ContainsFunc(file.Directors, func(d config.Director) bool { return d.Name == name }) {
			name = file.Directors[0].Name
		}
	}
	return file.For(name)
}
