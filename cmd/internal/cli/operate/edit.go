// This file has lvsd drain, undrain and weight: they edit the configuration file, show
// the change as a diff, and reload.

package operate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
	"lvsd/config/edit"
)

// editHelp is the part of the help that the three commands share.
const editHelp = "The configuration file itself is edited; comments and layout are kept. The change is\nprinted as a diff, then the daemon reloads; if the reload is rejected, the file is\nrestored. The command fails if the file already differs from the running\nconfiguration, since a reload would apply more than this change. The other\ndirectors are queried, and those with another value are named ([peers])."

func drainCommand(o *command.Options) *cobra.Command {
	var until string
	e := &editor{Options: o}
	cmd := &cobra.Command{
		Use:     "drain SERVICE REAL",
		Example: "  lvsd drain web 10.0.0.20:80\n  lvsd drain web 10.0.0.20:80 --until 2h --peers",
		Short:   "Drain a real server: edit the file and reload",
		Long:    "Drains a real server: it gets no new connections, open ones continue. The drain ends\nwith `lvsd undrain`, or automatically at the time of --until. `lvsd drained` waits\nuntil the server is no longer used.\n\n" + editHelp,
		Args:    cobra.ExactArgs(2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			end, err := endOfDrain(until, time.Now())
			if err != nil {
				return err
			}
			return e.run(cmd.Context(), args, edit.Change{Do: "drain", Until: end})
		}),
	}
	cmd.Flags().StringVar(&until, "until", "", "end the drain at `TIME`, such as 2026-12-01T06:00:00Z, or after a duration such as 2h")
	e.flags(cmd)
	return cmd
}

func undrainCommand(o *command.Options) *cobra.Command {
	e := &editor{Options: o}
	cmd := &cobra.Command{
		Use:     "undrain SERVICE REAL",
		Example: "  lvsd undrain web 10.0.0.20:80",
		Short:   "End the drain of a real server: edit the file and reload",
		Long:    "Removes drain and drain_until from a real server's entry, which restores its weight.\n\n" + editHelp,
		Args:    cobra.ExactArgs(2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			return e.run(cmd.Context(), args, edit.Change{Do: "undrain"})
		}),
	}
	e.flags(cmd)
	return cmd
}

func weightCommand(o *command.Options) *cobra.Command {
	e := &editor{Options: o}
	cmd := &cobra.Command{
		Use:     "weight SERVICE REAL N",
		Example: "  lvsd weight web 10.0.0.20:80 5",
		Short:   "Set the weight of a real server: edit the file and reload",
		Long:    "Sets the weight of a real server, 0 to 65535.\n\n" + editHelp,
		Args:    cobra.ExactArgs(3),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[2])
			if err != nil {
				return command.Misuse("%q is not a number", args[2])
			}
			return e.run(cmd.Context(), args, edit.Change{Do: "weight", Weight: n})
		}),
	}
	e.flags(cmd)
	return cmd
}

// endOfDrain reads --until: a time with its zone, or a duration from now. "" is the zero
// time.
func endOfDrain(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	end, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, err := time.ParseDuration(s)
		if err != nil {
			return time.Time{}, command.Misuse("--until is a time with its zone, such as %s, or a duration such as 2h, not %q", now.Add(time.Hour).UTC().Format(time.RFC3339), s)
		}
		end = now.Add(d)
	}
	if !end.After(now) {
		return time.Time{}, command.Misuse("--until %s is in the past", s)
	}
	return end, nil
}

// Edited is the outcome of an edit.
type Edited struct {
	Service    string       `json:"service"`
	RealServer string       `json:"real_server"`
	Files      []string     `json:"files"` // that were changed
	Diff       string       `json:"diff"`
	Hash       string       `json:"hash"` // of the configuration with the change
	Reloaded   bool         `json:"reloaded"`
	Drained    bool         `json:"drained"` // whatever the weight is
	Errors     []string     `json:"errors"`  // of a refused reload
	Peers      []EditedPeer `json:"peers"`
}

// EditedPeer is what another director has in its configuration.
type EditedPeer struct {
	Director string `json:"director"`
	Matches  bool   `json:"matches"`
	Weight   int    `json:"weight"`
	Draining bool   `json:"draining"`
	Error    string `json:"error,omitempty"`
}

// editor runs an edit.
type editor struct {
	*command.Options
	socket                string
	asJSON, dryRun, force bool
	peers                 bool
}

func (e *editor) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&e.asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&e.dryRun, "dry-run", false, "print the change without making it")
	cmd.Flags().BoolVar(&e.force, "force", false, "even if the file differs from the running configuration: the reload applies all of it")
	cmd.Flags().BoolVar(&e.peers, "peers", false, "make the same change on the other directors, where [peers] edits allows it")
	command.SocketFlag(cmd, &e.socket)
}

// run edits the file, reloads, and prints the outcome.
func (e *editor) run(ctx context.Context, args []string, change edit.Change) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	unlock := func() {}
	if !e.dryRun {
		lock, err := e.Lock(ctx)
		if err != nil {
			return err
		}
		unlock = sync.OnceFunc(lock)
		defer unlock()
	}
	text, err := e.Text()
	if err != nil {
		return err
	}
	before, err := config.Parse(e.Path, text)
	if err != nil {
		return err
	}
	server := edit.Server{Service: args[0], Address: args[1]}
	after, err := change.Apply(e.Path, string(text), server)
	if err != nil {
		return err
	}
	changed, err := config.ParseAfter(before, e.Path, []byte(after))
	if err != nil {
		return err
	}
	out := Edited{Service: args[0], RealServer: args[1], Files: []string{}, Hash: changed.Hash, Errors: []string{}, Peers: []EditedPeer{},
		Drained: edit.Drained(changed, server, time.Now())}
	changes, err := e.Changes(string(text), after)
	if err != nil {
		return err
	}
	for _, c := range changes {
		out.Files = append(out.Files, c.Path)
		out.Diff += unifiedDiff(c)
	}
	if !e.dryRun {
		err = e.apply(ctx, &out, before, changes, change, unlock)
	}
	if err != nil {
		return err
	}
	if e.asJSON {
		err = command.PrintJSON(out)
	} else {
		e.print(out, len(changed.Directors))
		if out.Drained && change.Do == "weight" {
			fmt.Fprintf(command.Stdout, "%s is drained, whatever its weight: lvsd undrain %s %s ends that\n", args[1], args[0], args[1])
		}
	}
	if err == nil && len(out.Errors) > 0 {
		return command.ExitCode(command.Failed)
	}
	return err
}

// apply writes the files, reloads and asks the other directors. The lock ends before: two
// directors may ask each other.
func (e *editor) apply(ctx context.Context, out *Edited, before *config.File, changes []configfile.Change, change edit.Change, unlock func()) error {
	client := e.Client(e.socket)
	status, err := client.Status(ctx)
	switch {
	case errors.Is(err, api.ErrNoDaemon):
		return fmt.Errorf("%w; without a daemon edit %s itself", err, e.Path)
	case err != nil:
		return err
	case !sameFile(status.Config.File, e.Path):
		return fmt.Errorf("the daemon runs %s, not %s: name it with -c", status.Config.File, e.Path)
	case status.Config.Hash != before.Hash && !e.force:
		return fmt.Errorf("%s differs from the running configuration (%s, running %s): a reload would apply more than this change; see lvsd plan, or use --force", e.Path, before.Hash, status.Config.Hash)
	}
	if err := configfile.WriteAll(changes); err != nil {
		return err
	}
	if len(changes) > 0 {
		v, err := client.Reload(ctx)
		if err != nil {
			return fmt.Errorf("the file has the change, but: %w", err)
		}
		if !v.OK {
			out.Errors = v.Errors
			return configfile.UndoAll(changes)
		}
		out.Hash = v.Hash
	}
	out.Reloaded = true
	unlock()
	var refused []api.PeerEdited
	if e.peers {
		refused, err = client.PeerEdits(ctx, api.PeerEdit{Service: out.Service, RealServer: out.RealServer, Edit: peers.Edit{Change: change, Before: before.Hash}})
		if err != nil {
			return err
		}
	}
	out.Peers, err = comparePeers(ctx, client, out.Service, out.RealServer)
	for i := range out.Peers {
		for _, r := range refused {
			if r.Director == out.Peers[i].Director && r.Error != "" && !out.Peers[i].Matches {
				out.Peers[i].Error = r.Error
			}
		}
	}
	return err
}

// sameFile reports whether two names are of one file. A missing file is the same as no other.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// comparePeers asks the other directors for their values of the server.
func comparePeers(ctx context.Context, client *api.Client, service, server string) ([]EditedPeer, error) {
	all := []EditedPeer{}
	status, err := client.Status(ctx)
	if err != nil {
		return all, err
	}
	drains, err := client.PeerDrains(ctx, service, server)
	if err != nil {
		return all, err
	}
	own := api.RealServerStatus{}
	for _, s := range status.Services {
		for _, r := range s.RealServers {
			if s.Name == service && r.Address == server {
				own = r
			}
		}
	}
	for _, p := range drains {
		x := EditedPeer{Director: p.Director, Error: p.Error}
		if d := p.Drain; d != nil && d.Found {
			x.Weight, x.Draining = d.Configured, d.Draining
			x.Matches = d.Configured == own.Configured && d.Draining == own.Draining
		} else if x.Error == "" {
			x.Error = "it does not have the server"
		}
		all = append(all, x)
	}
	return all, nil
}

func (e *editor) print(out Edited, directors int) {
	fmt.Fprint(command.Stdout, strings.ReplaceAll(out.Diff, "\r\n", "\n")) // a carriage return would be shown
	for _, line := range out.Errors {
		fmt.Fprintln(command.Stderr, line)
	}
	switch {
	case len(out.Errors) > 0:
		fmt.Fprintln(command.Stderr, "the reload was rejected; the file is restored")
	case len(out.Files) == 0:
		fmt.Fprintln(command.Stdout, "no change: the file has this value already")
	case out.Reloaded:
		fmt.Fprintf(command.Stdout, "reloaded; running configuration %s\n", out.Hash)
	}
	if !out.Reloaded {
		return
	}
	for _, p := range out.Peers {
		switch {
		case p.Error != "":
			fmt.Fprintf(command.Stdout, "%s: %s\n", p.Director, p.Error)
		case !p.Matches && p.Draining:
			fmt.Fprintf(command.Stdout, "%s still drains it (weight %d in its file): make the same change there\n", p.Director, p.Weight)
		case !p.Matches:
			fmt.Fprintf(command.Stdout, "%s still has weight %d for it: make the same change there\n", p.Director, p.Weight)
		}
	}
	if len(out.Peers) == 0 && directors > 1 {
		fmt.Fprintln(command.Stdout, "the other directors were not queried, as [peers] is not configured: make the same change there")
	}
}

// diffContext is how many lines around a change a diff shows.
const diffContext = 2

// unifiedDiff returns the change of a file in the form of diff -u, as one hunk.
func unifiedDiff(c configfile.Change) string {
	a, b := slices.Collect(strings.Lines(c.Before)), slices.Collect(strings.Lines(c.After))
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	from, below := max(head-diffContext, 0), min(tail, diffContext)
	var d strings.Builder
	fmt.Fprintf(&d, "--- %s\n+++ %s\n@@ -%d,%d +%d,%d @@\n", c.Path, c.Path, from+1, len(a)-tail+below-from, from+1, len(b)-tail+below-from)
	write := func(sign string, lines []string) {
		for _, line := range lines {
			d.WriteString(sign + line)
			if !strings.HasSuffix(line, "\n") {
				d.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	write(" ", a[from:head])
	write("-", a[head:len(a)-tail])
	write("+", b[head:len(b)-tail])
	write(" ", a[len(a)-tail:len(a)-tail+below])
	return d.String()
}
