package preview

import (
	"fmt"
	"io"
	"strings"
	"time"

	"lvsd/cmd/internal/printable"
)

// The colours of a terminal.
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	plain  = "\x1b[0m"
)

var restoreColours = strings.NewReplacer(printable.Clean(green), green, printable.Clean(red), red, printable.Clean(yellow), yellow, printable.Clean(bold), bold, printable.Clean(plain), plain)

// page collects lines, with colours for a terminal.
type page struct {
	strings.Builder
	colour bool
}

func (p *page) mark(code, text string) string {
	if !p.colour {
		return text
	}
	return code + text + plain
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// signs are what comes before a line, by action.
var signs = map[string]struct{ sign, colour string }{
	Add: {"+", green}, Start: {"+", green}, Remove: {"-", red}, End: {"-", red}, Drain: {"-", yellow},
	Edit: {"~", yellow}, Restart: {"±", red},
}

func (p *page) sign(action string) string {
	s := signs[action]
	return p.mark(s.colour, s.sign)
}

// Print writes a preview for people: + added, - removed, ~ changed.
func Print(out io.Writer, plan Preview, colour bool) error {
	p := &page{colour: colour}
	p.head(plan)
	for _, s := range plan.Services {
		p.service(s)
	}
	for _, e := range plan.Instances {
		p.instance(e)
	}
	for _, a := range plan.Announces {
		p.announce(a, plan.Announces)
	}
	if len(plan.Settings)+len(plan.Sync) > 0 {
		p.line("\n%s", p.mark(bold, "KERNEL"))
	}
	for _, c := range plan.Settings {
		p.line("  %s %s", p.sign(Edit), c)
	}
	for _, s := range plan.Sync {
		p.line("  %s connection synchronisation, %s: %s", p.sign(s.Action), roleText(s.Role), s)
	}
	if len(plan.Global) > 0 {
		p.line("\n%s", p.mark(bold, "DAEMON"))
	}
	for _, c := range plan.Global {
		p.line("  %s %s", p.sign(Edit), c)
	}
	p.foot(plan)
	// The text has words of files and of the kernel. Of what a terminal obeys, only the
	// colours of this page stay.
	_, err := restoreColours.WriteString(out, printable.Clean(p.String()))
	return err
}

func (p *page) head(plan Preview) {
	what, would := "the daemon is not running", ": a start would"
	if plan.Daemon {
		what, would = fmt.Sprintf("configuration %s is running", plan.RunningHash), ": a reload would"
	}
	if plan.Differs || len(plan.Refused) > 0 {
		what += would
	}
	if len(plan.Refused) > 0 {
		what += " be REJECTED"
		if plan.Hash != "" {
			what += "; after fixing the errors it would"
		}
	}
	p.line("director %s, %s", plan.Director, what)
	for _, r := range plan.Refused {
		p.line("  %s %s", p.mark(red, "!"), r)
	}
}

func (p *page) service(s Service) {
	name := s.Name
	if s.OldName != "" {
		name = s.OldName + " → " + s.Name
	}
	what := map[string]string{Add: "added", Edit: "changed", Remove: "removed", Drain: "removed once drained"}[s.Action]
	p.line("\n%s %s: %s", p.mark(bold, "SERVICE "+name), s.Service, p.mark(signs[s.Action].colour, what))
	if s.OldName != "" && s.Action == Edit {
		p.line("  %s renamed; its connections are kept", p.sign(Edit))
	}
	for _, c := range s.Changes {
		if c.Field == "settings" {
			p.line("  %s %s", p.sign(Add), c.To)
			continue
		}
		p.line("  %s %s", p.sign(Edit), c)
	}
	for _, rs := range s.RealServers {
		p.realServer(rs)
	}
	for _, c := range s.Checks {
		p.line("  %s %s (%s)", p.sign(Edit), c.Change, printable.Count(c.RealServers, "real server"))
	}
	if s.RestartedChecks > 0 {
		p.line("  %s the checks of %s are restarted; current health is kept until the first result", p.sign(Edit), printable.Count(s.RestartedChecks, "real server"))
	}
	for _, w := range s.Warnings {
		p.line("  %s %s", p.mark(yellow, "!"), w)
	}
}

func (p *page) realServer(rs RealServer) {
	var parts []string
	for _, c := range rs.Changes {
		switch {
		case c.Field == "settings" && rs.Action == Add:
			parts = append(parts, c.To)
		case c.Field == "settings":
		default:
			parts = append(parts, c.String())
		}
	}
	if rs.Action == Add && !rs.InKernel {
		parts = append(parts, "not in the table yet")
	}
	if rs.Why != "" && rs.Action != Remove {
		parts = append(parts, fmt.Sprintf("of %d: %s", rs.Configured, rs.Why))
	}
	if becomes := rs.becomes(); becomes != "" {
		parts = append(parts, becomes)
	}
	p.line("  %s %s  %s", p.sign(rs.Action), rs.Address, strings.Join(parts, ", "))
}

// becomes is what would happen to a server's connections.
func (rs RealServer) becomes() string {
	has := rs.Connections.String()
	switch {
	case rs.Action == Drain:
		return fmt.Sprintf("drains for %v at most: %s", (time.Duration(rs.DrainSeconds * float64(time.Second))).Round(time.Second), has)
	case rs.Action == Remove && rs.Connections == Connections{}:
		return "no connections"
	case rs.Action == Remove:
		return has + " END"
	case rs.Connections == Connections{}:
		return ""
	case rs.Action == Edit && rs.InKernel && rs.Weight == 0:
		return "no new connections; " + has + " continue"
	}
	return has + " continue"
}

// String is like "12 active, 3 inactive, 0 persistent".
func (c Connections) String() string {
	return fmt.Sprintf("%d active, %d inactive, %d persistent", c.Active, c.Inactive, c.Persistent)
}

// String is like "weight 2 → 5".
func (c Change) String() string { return fmt.Sprintf("%s %s → %s", c.Field, c.From, c.To) }

func (p *page) instance(e Instance) {
	name, what := e.Name, map[string]string{Start: "starts", Edit: "updated in place", Restart: "RESTARTS", End: "stops"}[e.Action]
	if e.Replaces != "" {
		name = e.Replaces + " → " + e.Name
	}
	now := ""
	if e.State != "" {
		now = ", now " + e.State
	}
	p.line("\n%s: %s%s", p.mark(bold, "VRRP "+name), p.mark(signs[e.Action].colour, what), now)
	for _, c := range e.Changes {
		if c.From == "none" && e.Action == Start {
			p.line("  %s %s %s", p.sign(Add), c.Field, c.To)
			continue
		}
		p.line("  %s %s", p.sign(Edit), c)
	}
	at := map[bool]string{true: "", false: ", while this director is master"}[e.HasVIPs]
	if e.Action == Restart {
		at = ", when this director is master again"
	}
	for _, a := range e.Added {
		p.line("  %s address %s added%s", p.sign(Add), a, at)
	}
	for _, a := range e.Removed {
		if e.HasVIPs {
			p.line("  %s address %s removed", p.sign(Remove), a)
		} else {
			p.line("  %s address %s removed; it is not on this director now", p.sign(Remove), a)
		}
	}
	if e.Takeover != "" {
		p.line("  %s %s", p.mark(yellow, "!"), e.Takeover)
	}
}

func roleText(name string) string {
	if name == "master" {
		return "sending"
	}
	return "receiving"
}

// String is like "starts: eth1 id 5".
func (s Sync) String() string {
	switch s.Action {
	case Start:
		return "starts: " + s.To
	case End:
		return "stops: " + s.From
	}
	return fmt.Sprintf("restarts: %s → %s (%s)", s.From, s.To, s.Why)
}

func (p *page) foot(plan Preview) {
	if len(plan.Warnings) > 0 {
		p.line("")
	}
	for _, w := range plan.Warnings {
		p.line("%s %s", p.mark(yellow, "!"), w)
	}
	switch {
	case plan.Hash == "":
	case !plan.Differs:
		p.line("No changes.")
	default:
		ending := "no connections"
		if (plan.Ending != Connections{}) {
			ending = plan.Ending.String()
		}
		p.line("\n%s to the kernel's table, %s, %s; %s end", printable.Count(plan.Writes, "write"), printable.Count(len(plan.Services), "service"),
			printable.Count(len(plan.Instances), "VRRP instance"), ending)
	}
}
