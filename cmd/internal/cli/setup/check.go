package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lvsd/checker/probe"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/api/server"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/daemon"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/host"
	"lvsd/config"
	"lvsd/vrrp/auth"
)

func checkCommand(o *command.Options) *cobra.Command {
	var asJSON, onHost bool
	cmd := &cobra.Command{
		Use:     "check",
		Example: "  lvsd check -c lvsd.toml\n  lvsd check --host",
		Short:   "Test the configuration file",
		Long:    "Tests the configuration file for every director in it and prints all errors with\ntheir positions, including those of its web_config_file. It changes nothing and needs\nno rights. With --host it also tests this machine: interfaces, IPVS, rights, what\n`lvsd host check` tests, and whether the health checks can run: programs, names,\nsource addresses and routes.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			v := check(cmd.Context(), o, onHost)
			if asJSON {
				if err := command.PrintJSON(v); err != nil {
					return err
				}
			} else {
				v.print()
			}
			if !v.OK {
				return command.ExitCode(command.Failed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&onHost, "host", false, "also test this machine")
	return cmd
}

// Checked is the result of a check.
type Checked struct {
	File     string   `json:"file"`
	OK       bool     `json:"ok"`
	Hash     string   `json:"hash,omitempty"`
	Errors   []string `json:"errors"`
	Warnings []string `json:"warnings"`
}

func check(ctx context.Context, o *command.Options, onHost bool) Checked {
	v := Checked{File: o.Path, Errors: []string{}, Warnings: []string{}}
	file, err := o.Parse()
	if err != nil {
		v.Errors = append(v.Errors, api.Lines(err)...)
		return v
	}
	v.Hash = file.Hash
	for _, w := range file.Warnings {
		v.Warnings = append(v.Warnings, w.Error())
	}
	v.Errors = append(v.Errors, webErrors(file, onHost, o)...)
	if onHost {
		if c, _, err := o.Load(); err != nil {
			v.Errors = append(v.Errors, api.Lines(err)...)
		} else {
			v.Warnings = append(v.Warnings, host.Warnings(c)...)
			errs, findings := host.Check(c)
			errs = append(errs, daemon.Try(c, slog.New(slog.DiscardHandler), false))
			errs = append(errs, director.Impossible(ctx, c, probe.NewShared())...)
			v.Errors = append(v.Errors, api.Lines(errors.Join(errs...))...)
			for _, f := range findings {
				if !f.OK {
					v.add(f.String())
				}
			}
		}
	}
	for _, text := range keyErrors(file, onHost, o) {
		v.add(text)
	}
	v.OK = len(v.Errors) == 0
	return v
}

// add adds an error unless one of a start on this host has its text and the place.
func (v *Checked) add(text string) {
	if !slices.ContainsFunc(v.Errors, func(e string) bool { return strings.Contains(e, text) }) {
		v.Errors = append(v.Errors, text)
	}
}

// webErrors are the errors in the web_config_file of each director. On other hosts than
// the director the file may be missing.
func webErrors(file *config.File, onHost bool, o *command.Options) (all []string) {
	own, _ := o.DirectorName()
	var seen []string
	for _, d := range file.Directors {
		c, err := file.For(d.Name)
		if err != nil || c.Global.HTTPListen == "" || slices.Contains(seen, c.Global.WebConfigFile) {
			continue
		}
		seen = append(seen, c.Global.WebConfigFile)
		err = server.CheckWeb(c.Global.WebConfigFile)
		if !(onHost && d.Name == own) && unreadable(err) {
			continue
		}
		all = append(all, api.Lines(err)...)
	}
	return all
}

// keyErrors are the errors in the key files of all directors. On other hosts than the
// director a file may be missing.
func keyErrors(file *config.File, onHost bool, o *command.Options) (all []string) {
	own, _ := o.DirectorName()
	for _, d := range file.Directors {
		c, err := file.For(d.Name)
		if err != nil {
			continue
		}
		var used []config.Authentication
		for _, i := range c.Instances {
			used = append(used, i.Authentication)
		}
		if c.Exchange != nil {
			used = append(used, config.Authentication{Type: "hmac", KeyFile: c.Exchange.KeyFile})
		}
		for _, a := range used {
			_, err := auth.Read(a.Type, a.KeyFile, a.Permissive)
			if err != nil && (onHost && d.Name == own || !unreadable(err)) && !slices.Contains(all, err.Error()) {
				all = append(all, err.Error())
			}
		}
	}
	return all
}

// unreadable reports that a file is on other hosts, or for other users.
func unreadable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

func (v Checked) print() {
	for _, e := range v.Errors {
		fmt.Fprintln(command.Stderr, e)
	}
	for _, w := range v.Warnings {
		fmt.Fprintln(command.Stderr, w, "(warning)")
	}
	if v.OK {
		fmt.Fprintf(command.Stdout, "%s: configuration OK (hash %s)\n", v.File, v.Hash)
	}
}
