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
	"why":      {explainedNames, realServers(nil)},
	"probe":    {serviceNames(nil), realServers(nil)},
	"drained":  {serviceNames(drained), realServers(drained)},
	"drain":    {serviceNames(serving), realServers(serving)},
	"undrain":  {serviceNames(undrainable), realServers(undrainable)},
	"weight":   {serviceNames(nil), realServers(nil)},
	"zero":     {serviceNames(nil)},
	"status":   {serviceNames(nil)},
	"watch":    {serviceNames(nil)},
	"handover": {handoverNames},
}

// repeated are the commands whose last argument may be given several times.
var repeated = []string{"status", "watch"}

// serving, drained and undrainable report whether a command has something to do with a
// real server.
func serving(r config.RealServer) bool     { return !drained(r) }
func drained(r config.RealServer) bool     { return r.Weight == 0 || undrainable(r) }
func undrainable(r config.RealServer) bool { return r.Drain || !r.DrainUntil.IsZero() }

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
				at := len(args)
				if slices.Contains(repeated, cmd.Name()) {
					at = min(at, len(names)-1)
				}
				c := anyConfig(o)
				if c == nil || at >= len(names) {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				all := slices.DeleteFunc(names[at](c, args), func(name string) bool { return slices.Contains(args[at:], name) })
				return all, cobra.ShellCompDirectiveNoFileComp
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

// serviceNames are the services with a real server that fits; nil: all.
func serviceNames(fits func(config.RealServer) bool) func(*config.Config, []string) []string {
	return func(c *config.Config, _ []string) (all []string) {
		for _, s := range c.Services {
			if fits == nil || slices.ContainsFunc(s.RealServers, fits) {
				all = append(all, s.Name)
			}
		}
		return all
	}
}

// explainedNames are the services and the announcements.
func explainedNames(c *config.Config, before []string) []string {
	return append(serviceNames(nil)(c, before), announceNames(c)...)
}

// handoverNames are the VRRP instances and the announcements.
func handoverNames(c *config.Config, _ []string) []string {
	var all []string
	for _, e := range c.Instances {
		all = append(all, e.Name)
	}
	return append(all, announceNames(c)...)
}

func announceNames(c *config.Config) (all []string) {
	for _, a := range c.Announces {
		all = append(all, a.Name)
	}
	return all
}

// realServers are those of the service in the first argument that fit; nil: all.
func realServers(fits func(config.RealServer) bool) func(*config.Config, []string) []string {
	return func(c *config.Config, before []string) (all []string) {
		at := slices.IndexFunc(c.Services, func(s config.Service) bool { return s.Name == before[0] })
		if at < 0 {
			return nil
		}
		for _, r := range c.Services[at].RealServers {
			switch {
			case fits != nil && !fits(r):
			case r.Address.Port() == 0: // without a port in the service its servers have none
				all = append(all, r.Address.Addr().String())
			default:
				all = append(all, r.Address.String())
			}
		}
		return all
	}
}
