// This file sends events to a program, one run for each event.

package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	run "lvsd/checker/program"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/event"
)

const (
	// programDeadline bounds one run. Then the program is killed with all that it
	// started.
	programDeadline = 10 * time.Second
	// outputLimit bounds what is kept of its output, for the log.
	outputLimit = 256
)

type program struct {
	command  []string
	user     string        // "": that of lvsd
	deadline time.Duration // 0: programDeadline
}

func (p *program) send(ctx context.Context, events []event.Event) error {
	return p.run(ctx, events[0])
}

// run runs the program for an event, with more arguments.
func (p *program) run(ctx context.Context, e event.Event, arguments ...string) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	what := run.Program{Command: slices.Concat(p.command, arguments), Environment: environment(e), Input: append(text, '\n'), Output: outputLimit}
	if p.user != "" {
		if what.Credential, err = run.UserCredential(p.user); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(ctx, cmp.Or(p.deadline, programDeadline))
	defer cancel()
	ending := what.Run(limit, nil)
	switch {
	case ending.OK():
		return nil
	case ending.Killed && ctx.Err() != nil:
		return errors.New("killed, as the daemon stops or the configuration no longer has it")
	}
	if said := strings.TrimSpace(strings.ToValidUTF8(ending.Output, "?")); said != "" {
		return fmt.Errorf("%s: %q", ending, said)
	}
	return errors.New(ending.String())
}

// check returns what would keep a program from being run.
func (p *program) check() error {
	if p.user != "" {
		if _, err := run.UserCredential(p.user); err != nil {
			return err
		}
	}
	info, err := disk.Within(p.command[0], func() (os.FileInfo, error) { return os.Stat(p.command[0]) })
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable", p.command[0])
	}
	return nil
}

// programsOf returns the programs behind a target.
func programsOf(s sender) []*program {
	switch s := s.(type) {
	case *program:
		return []*program{s}
	case *stateProgram:
		return slices.Collect(maps.Values(s.of))
	case servicePrograms:
		return slices.Collect(maps.Values(s))
	}
	return nil
}

// environment is an event as variables, for programs that do not read JSON.
func environment(e event.Event) []string {
	var all []string
	for _, v := range [][2]string{
		{"DIRECTOR", e.Director}, {"KIND", string(e.Kind)}, {"LEVEL", string(e.Level)}, {"VRRP", e.VRRP}, {"ANNOUNCE", e.Announce}, {"SERVICE", e.Service},
		{"REAL_SERVER", e.RealServer}, {"FROM", e.From}, {"TO", e.To}, {"REASON", e.Reason},
	} {
		all = append(all, "LVSD_"+v[0]+"="+strings.ReplaceAll(v[1], "\x00", ""))
	}
	return all
}
