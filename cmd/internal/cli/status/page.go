// This file lays out the page of lvsd status and lvsd watch.

package status

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/printable"
)

// Page is what is shown: a status, the newest events, and a note about what is not
// shown.
type Page struct {
	api.Status
	Events []event.Event // newest first
	Note   string
}

// Draw lays out a page for a screen.
func Draw(s table.Screen, p Page) string {
	var out strings.Builder
	d := drawing{s, &out, p}
	d.head()
	d.directors()
	d.instances()
	d.announces()
	d.changes()
	d.extras()
	d.services()
	return out.String()
}

// drawing is a page being laid out.
type drawing struct {
	table.Screen
	out *strings.Builder
	Page
}

func (d drawing) heading(style table.Style, text string) {
	d.out.WriteString("\n")
	d.Wrap(d.out, "", style, text)
}

// head writes the summary and the problems.
func (d drawing) head() {
	style, state := table.Good, "OK"
	if len(d.Problems) > 0 {
		style, state = table.Bad, printable.Count(len(d.Problems), "problem")
	}
	problems := d.Problems
	if d.Config.FromLastGood && len(problems) > 0 { // first of all: the running configuration is not the file's
		d.Wrap(d.out, "! ", table.Bad, problems[0])
		problems = problems[1:]
	}
	d.Line(d.out, style, fmt.Sprintf("director %s: %s (%s)", d.Director, state, Clock(d.At, d.At)))
	for i, p := range problems {
		if i == shownProblems {
			d.Line(d.out, table.Bad, fmt.Sprintf("! and %d more (--json shows all)", len(problems)-i))
			break
		}
		d.Wrap(d.out, "! ", table.Bad, p)
	}
}

// shownProblems is how many problems are shown: the failure of a switch may cause
// hundreds.
const shownProblems = 10

// directors writes the directors, their configuration and their state.
func (d drawing) directors() {
	t := table.Table{Columns: []table.Column{{Title: "DIRECTOR"}, {Title: "CONFIGURATION"}, {Title: "VERSION", Drop: 2}, {Title: "CONNECTIONS", Drop: 3, Optional: true},
		{Title: "STARTED", Drop: 1}, {Title: "STATE"}}}
	own := directorState(directorProblems(d.ProblemDetails))
	if d.WaitReason != "" {
		own.Text += ", " + d.WaitReason
	}
	t.Rows = append(t.Rows, []table.Cell{table.Text(d.Director + " (here)"), table.Text(short(d.Config.Hash)), table.Text(d.Version), table.Text(""),
		table.Text(Clock(d.Started, d.At)), own})
	for _, p := range d.Peers {
		t.Rows = append(t.Rows, d.peer(p))
	}
	d.out.WriteString("\n")
	d.Table(d.out, t)
	for _, p := range d.Peers {
		for _, problem := range p.Problems[:min(len(p.Problems), shownOfPeer)] {
			if p.Up {
				d.Wrap(d.out, p.Director+"! ", table.Bad, problem)
			}
		}
	}
}

// shownOfPeer is how many problems of another director are shown; its own status has
// all.
const shownOfPeer = 3

// peer is the row of another director.
func (d drawing) peer(p api.PeerStatus) []table.Cell {
	row := []table.Cell{table.Text(p.Director), table.Text(short(p.ConfigHash)), table.Text(p.Version), {}, {}, {}}
	if !p.Started.IsZero() {
		row[4] = table.Text(Clock(p.Started, d.At))
	}
	if c := p.Connections; c != nil {
		row[3] = table.Text(fmt.Sprintf("%d, %d synced", c.Local+c.Synced, c.Synced))
	}
	state := &row[len(row)-1]
	if !p.Up {
		*state = table.Cell{Text: "UNREACHABLE since " + Clock(p.Since, d.At) + Detail(p.Error), Style: table.Bad}
		return row
	}
	*state = directorState(p.DirectorProblems)
	if p.WaitReason != "" {
		state.Text += ", " + p.WaitReason
	}
	if !p.ConfigMatches {
		row[1].Style = table.Bad
	}
	if !p.VersionMatches {
		row[2].Style = table.Bad
	}
	return row
}

// directorProblems counts the problems of a director itself: a real server that is down,
// or another director, is no fault of it.
func directorProblems(all []api.Problem) (n int) {
	for _, p := range all {
		if p.Service == "" && p.Director == "" {
			n++
		}
	}
	return n
}

func directorState(problems int) table.Cell {
	if problems > 0 {
		return table.Cell{Text: printable.Count(problems, "problem"), Style: table.Bad}
	}
	return table.Cell{Text: "OK", Style: table.Good}
}

// short is as much of a hash as identifies a configuration.
func short(hash string) string { return hash[:min(len(hash), 8)] }

// instances writes the VRRP instances, with the state on every director.
func (d drawing) instances() {
	if len(d.VRRP) == 0 {
		return
	}
	t := table.Table{Columns: []table.Column{{Title: "VRRP"}, {Title: "MASTER"}, {Title: d.Director + " (here)"}}}
	for _, p := range d.Peers {
		t.Columns = append(t.Columns, table.Column{Title: p.Director, Drop: 1})
	}
	t.Columns = append(t.Columns, table.Column{Title: "INTERFACE", Drop: 3}, table.Column{Title: "ADDRESSES", Drop: 2}, table.Column{Title: "SINCE"})
	for _, e := range d.VRRP {
		row := []table.Cell{table.Text(e.Name), d.master(e), stateCell(e.State, e.Priority)}
		for _, p := range d.Peers {
			row = append(row, peerInstance(p, e.Name))
		}
		style := table.Plain
		if e.Alarm != "" || e.State == "fault" {
			style = table.Bad
		}
		t.Rows = append(t.Rows, append(row, table.Text(e.Interface), table.Text(addresses(e)), table.Cell{Text: d.since(e), Style: style}))
	}
	d.out.WriteString("\n")
	d.Table(d.out, t)
}

// master names the masters of an instance: normally one.
func (d drawing) master(e api.InstanceStatus) table.Cell {
	var masters []string
	if e.State == "master" {
		masters = append(masters, d.Director)
	}
	heard := e.State != "master" && e.Master != ""
	for _, p := range d.Peers {
		i := slices.IndexFunc(p.VRRP, func(o api.PeerInstance) bool { return o.Name == e.Name })
		at, err := netip.ParseAddrPort(p.Address)
		switch {
		case p.Up && i >= 0 && p.VRRP[i].State == "master":
			masters = append(masters, p.Director)
			heard = false
		case heard && err == nil && at.Addr().String() == e.Master:
			masters = append(masters, p.Director) // by its adverts
			heard = false
		}
	}
	if heard && len(masters) == 0 {
		masters = append(masters, fmt.Sprintf("%s, %d", e.Master, e.MasterPriority))
	}
	switch len(masters) {
	case 0:
		return table.Cell{Text: "NO MASTER", Style: table.Bad}
	case 1:
		return table.Cell{Text: masters[0], Style: table.Good}
	}
	return table.Cell{Text: strings.Join(masters, " AND "), Style: table.Bad}
}

func stateCell(state string, priority uint8) table.Cell {
	c := table.Cell{Text: fmt.Sprintf("%s, %d", state, priority)}
	switch state {
	case "master":
		c.Style = table.Good
	case "fault":
		c.Style = table.Bad
	}
	return c
}

func peerInstance(p api.PeerStatus, name string) table.Cell {
	i := slices.IndexFunc(p.VRRP, func(o api.PeerInstance) bool { return o.Name == name })
	switch {
	case !p.Up:
		return table.Cell{Text: "?", Style: table.Bad}
	case i < 0:
		return table.Cell{Text: "not configured", Style: table.Bad}
	}
	c := stateCell(p.VRRP[i].State, p.VRRP[i].Priority)
	if p.VRRP[i].Standby {
		c.Text += ", standby"
	}
	return c
}

// shownAddresses is how many addresses of an instance are shown.
const shownAddresses = 2

// addresses are the virtual addresses, wherever they are.
func addresses(e api.InstanceStatus) string {
	var texts []string
	for i, a := range e.VirtualAddresses {
		if i == shownAddresses {
			texts = append(texts, fmt.Sprintf("and %d more", len(e.VirtualAddresses)-i))
			break
		}
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " ")
}

// since is the time of the last state change, what the instance waits for, and why.
func (d drawing) since(e api.InstanceStatus) string {
	text := Clock(e.Since, d.At)
	switch {
	case e.Standby && e.StandbyUntil.IsZero():
		text += ", standby until lvsd handover --end"
	case e.Standby:
		text += ", standby until " + Clock(e.StandbyUntil, d.At)
	case e.WaitReason != "":
		text += ", " + e.WaitReason
	}
	for _, t := range e.Tracked {
		text += ", " + trackedEffect(t)
	}
	return text + Detail(e.Detail)
}

// trackedEffect describes the effect of a tracked object.
func trackedEffect(t api.TrackedStatus) string {
	if t.Fault {
		return t.What + ": fault"
	}
	return fmt.Sprintf("%s: %+d", t.What, t.Delta)
}

// changes writes the newest events.
func (d drawing) changes() {
	if len(d.Events) == 0 {
		return
	}
	t := table.Table{Columns: []table.Column{{Title: "LAST CHANGES"}, {Title: "OF", Drop: 1}, {Title: "WHAT"}, {Title: "TO"}, {Title: "WHY"}}}
	for _, e := range d.Events {
		style := table.Plain
		if e.Level != event.Info && e.Level != "" {
			style = table.Bad
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(Clock(e.At, d.At)), table.Text(string(e.Kind)), table.Text(Subject(e)), {Text: e.To, Style: style}, table.Text(oneLine(e.Reason))})
	}
	d.out.WriteString("\n")
	d.Table(d.out, t)
}

// oneLine is the first line of a text.
func oneLine(text string) string {
	line, _, more := strings.Cut(text, "\n")
	if more {
		line += " …"
	}
	return line
}

// extras writes the guard and the connection synchronisation, if configured.
func (d drawing) extras() {
	if g := d.Guard; g != nil {
		style := table.Plain
		if g.Active {
			style = table.Bad
		}
		d.heading(style, fmt.Sprintf("GUARD %s since %s%s", g.State, Clock(g.Since, d.At), Detail(g.Why)))
		for _, w := range g.Witnesses {
			d.Wrap(d.out, "  ", table.Plain, fmt.Sprintf("witness %s: %s", w.Address, answers(w)))
		}
	}
	if sync := d.IPVS.Sync; sync != nil {
		style := table.Plain
		if sync.Error != "" {
			style = table.Bad
		}
		d.heading(style, fmt.Sprintf("SYNC sends: %s; receives: %s%s", syncRole(sync.Master), syncRole(sync.Backup), Detail(sync.Error)))
	}
}

func syncRole(d *api.SyncDaemonStatus) string {
	if d == nil {
		return "off"
	}
	return fmt.Sprintf("on %s, id %d", d.Interface, d.ID)
}

func answers(w api.WitnessStatus) string {
	switch {
	case w.LastProbe == nil:
		return "not pinged yet"
	case w.Answers:
		return "replies"
	}
	return "DOES NOT REPLY" + Detail(w.LastProbe.Detail)
}

// services writes each service with its real servers.
func (d drawing) services() {
	if d.Note != "" {
		d.heading(table.Faint, d.Note)
	}
	for _, svc := range d.Services {
		style := table.Bold
		if serviceRank(svc) <= rankDegraded {
			style = table.Bad
		}
		d.heading(style, fmt.Sprintf("SERVICE %s %s %s: %s, available weight %d (quorum %d)", svc.Name, serviceAddress(svc), svc.Scheduler, serviceState(svc), svc.AvailableWeight, svc.Quorum))
		t := table.Table{Indent: "  ", Columns: []table.Column{{Title: "REAL SERVER"}, {Title: "WEIGHT", Right: true}, {Title: "HEALTH"},
			{Title: "ACTIVE", Right: true}, {Title: "INACTIVE", Right: true, Drop: 1}, {Title: "WHY"}}}
		for _, rs := range svc.RealServers {
			t.Rows = append(t.Rows, d.server(rs))
		}
		if f := svc.Fallback; f != nil && f.Active {
			t.Rows = append(t.Rows, []table.Cell{table.Text(f.Address), table.Text(Weight(f.Weight)), {Text: "fallback", Style: table.Bad},
				table.Text(number(f.Open)), table.Text(number(f.Inactive)), table.Text("serves since " + Clock(f.Since, d.At))})
		}
		for _, gone := range d.IPVS.Draining {
			if gone.Service == svc.Name {
				t.Rows = append(t.Rows, []table.Cell{table.Text(gone.RealServer), table.Text("0"), {Text: "draining", Style: table.Notice}, {}, {},
					table.Text("since " + Clock(gone.Since, d.At) + ": removed from the file, " + draining(gone, d.At))})
			}
		}
		if len(t.Rows) > 0 {
			d.Table(d.out, t)
		}
	}
}

var serverStyles = map[int]table.Style{rankBroken: table.Bad, rankDegraded: table.Notice, rankReduced: table.Notice, rankDraining: table.Notice}

// server is the row of a real server: its weight in the kernel and in the file, and
// since when it drains.
func (d drawing) server(rs api.RealServerStatus) []table.Cell {
	style := serverStyles[serverRank(rs)]
	of := Weight(rs.Weight)
	if rs.Weight == nil || *rs.Weight != rs.Configured {
		of += " of " + strconv.Itoa(rs.Configured)
	}
	reason := why(rs)
	if rs.Draining && !rs.DrainingSince.IsZero() {
		reason = "since " + Clock(rs.DrainingSince, d.At) + ": " + reason
	}
	return []table.Cell{table.Text(rs.Address), {Text: of, Style: style}, {Text: Health(rs), Style: style}, table.Text(number(rs.Active)), table.Text(number(rs.Inactive)), table.Text(reason)}
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func serviceAddress(svc api.ServiceStatus) string {
	if svc.FWMark != 0 {
		return fmt.Sprintf("fwmark %d", svc.FWMark)
	}
	return svc.Protocol + " " + svc.Address
}

// serviceState is in capitals where it needs attention.
func serviceState(svc api.ServiceStatus) string {
	state := "up"
	if !svc.Up {
		state = "DOWN"
	}
	if svc.Panic {
		state += ", PANIC"
	}
	if svc.Fallback != nil && svc.Fallback.Active {
		state += ", FALLBACK"
	}
	return state
}

func draining(d api.DrainingStatus, now time.Time) string {
	left := "its connections"
	if d.Remaining != nil {
		left = printable.Count(int(*d.Remaining), "connection")
	}
	return fmt.Sprintf("%s left, removed within %v", left, max(d.Deadline.Sub(now), 0).Round(time.Second))
}

// Weight is a weight in the kernel, "-" where there is none.
func Weight(w *int) string {
	if w == nil {
		return "-"
	}
	return strconv.Itoa(*w)
}

// Health is the health of a real server in a few words.
func Health(rs api.RealServerStatus) string {
	health := rs.Health
	if rs.Unchecked != "" {
		health += ", unchecked"
	}
	if rs.ProbedBy != "" {
		health += " (" + rs.ProbedBy + ")"
	}
	if rs.Draining {
		health += ", draining"
	}
	return health
}

// why is the cause of the weight, or for a server at its full weight the last
// probe.
func why(rs api.RealServerStatus) string {
	if rs.Desired == rs.Configured && !rs.Draining && rs.Health == "up" && rs.Unchecked == "" && rs.LastProbe != nil {
		p := rs.LastProbe
		return fmt.Sprintf("%s %s in %s", cmp.Or(p.Check, p.Type), p.Reason, (time.Duration(p.Took * float64(time.Second))).Round(10*time.Microsecond))
	}
	return rs.Why
}

// compareAddresses orders real servers by address and port, numerically.
func compareAddresses(a, b string) int {
	x, errX := netip.ParseAddrPort(a)
	y, errY := netip.ParseAddrPort(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}
