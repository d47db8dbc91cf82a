// This file sends events to a program, one run for each event.

package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	run "lvsd/checker/program"
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
	deadline time.Duration // 0: programDeadline
}

func (p *program) send(ctx context.Context, e event.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	deadline := p.deadline
	if deadline == 0 {
		deadline = programDeadline
	}
	limit, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	ending := run.Program{Command: p.command, Environment: environment(e), Input: append(text, '\n'), Output: outputLimit}.Run(limit, nil)
	switch {
	case ending.OK():
		return nil
	case ending.Killed && ctx.Err() != nil:
		return errors.New("killed, as the daemon or the configuration tells it no more")
	}
	if said := strings.TrimSpace(strings.ToValidUTF8(ending.Output, "?")); said != "" {
		return fmt.Errorf("%s: %q", ending, said)
	}
	return errors.New(ending.String())
}

// environment is an event as variables, for programs that do not read JSON.
func environment(e event.Event) []string {
	var all []string
	for _, v := range [][2]string{
		{"DIRECTOR", e.Director}, {"KIND", string(e.Kind)}, {"LEVEL", string(e.Level)}, {"VRRP", e.VRRP}, {"SERVICE", e.Service},
		{"REAL_SERVER", e.RealServer}, {"FROM", e.From}, {"TO", e.To}, {"REASON", e.Reason},
	} {
		all = append(all, "LVSD_"+v[0]+"="+strings.ReplaceAll(v[1], "\x00", ""))
	}
	return all
}
