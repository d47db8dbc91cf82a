// This file completes the names of services, real servers, VRRP instances and directors
// from the configuration file. The scripts are cobra's.

package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/config"
)

// naming is the kind of each argument of a command, by the command's name.
var naming = map[string][]func(c *config.Config, before []string) []string{
	"why":      {serviceNames, realServers},
	"probe":    {serviceNames, realServers},
	"drained":  {serviceNames, realServers},
	"drain":    {serviceNames, realServers},
	"undrain":  {serviceNames, realServers},
	"weight":   {serviceNames, realServers},
	"zero":     {serviceNames},
	"status":   {serviceNames},
	"watch":    {serviceNames},
	"handover": {instanceNames},
}

// complete adds completion to every command below root.
func complete(root *cobra.Command, o *command.Options) {
	_ = root.RegisterFlagCompletionFunc("director", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return directorNames(o), cobra.ShellCompDirectiveNoFileComp
	})
	_ = root.MarkPersistentFlagFilename("config", "toml")
	for _, cmd := range root.Commands() {
		names := naming[cmd.Name()]
		switch {
		case cmd.ValidArgsFunction != nil:
		case cmd.Name() == "convert":
			continue // completed by the shell as files
		default:
			cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
				c := anyConfig(o)
				if c == nil || len(args) >= len(names) {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return names[len(args)](c, args), cobra.ShellCompDirectiveNoFileComp
			}
		}
	}
}

// anyConfig is the configuration of this host, or of the first director: the names are
// the same.
func anyConfig(o *command.Options) *config.Config {
	if c, _, err := o.Load(); err == nil {
		return c
	}
	file, err := o.Parse()
	if err != nil || len(file.Directors) == 0 {
		return nil
	}
	c, err := file.For(file.Directors[0].Name)
	if err != nil {
		return nil
	}
	return c
}

func directorNames(o *command.Options) []string {
	file, err := o.Parse()
	if err != nil {
		return nil
	}
	var all []string
	for _, d := range file.Directors {
		all = append(all, d.Name)
	}
	return all
}

func serviceNames(c *config.Config, _ []string) []string {
	var all []string
	for _, s := range c.Services {
		all = append(all, s.Name)
	}
	return all
}

func instanceNames(c *config.Config, _ []string) []string {
	var all []string
	for _, e := range c.Instances {
		all = append(all, e.Name)
	}
	return all
}

// realServers are those of the service in the previous argument.
func realServers(c *config.Config, before []string) []string {
	at := slices.IndexFunc(c.Services, func(s config.Service) bool { return s.Name == before[0] })
	if at < 0 {
		return nil
	}
	var all []string
	for _, r := range c.Services[at].RealServers {
		// Without a port in the service its servers have none.
		if r.Address.Port() == 0 {
			all = append(all, r.Address.Addr().String())
			continue
		}
		all = append(all, r.Address.String())
	}
	return all
}
