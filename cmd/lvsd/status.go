package main

// lvsd status: the daemon's state on one screen, the worst first.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
)

func statusCommand(o *options) *cobra.Command {
	var asJSON, connections bool
	var socket string
	cmd := &cobra.Command{
		Use:   "status [--connections [SERVICE]]",
		Short: "Show elections, virtual services and real servers",
		Long:  "Shows who is master, every virtual service and every real server with its\nweight, the reason for it and its connections. Exits 1 when something is wrong.\nWith --connections it lists the kernel's connections, of one service or of all.",
		Args: func(cmd *cobra.Command, args []string) error {
			if connections {
				return cobra.MaximumNArgs(1)(cmd, args)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: works(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), statusLimit)
			defer cancel()
			if connections {
				return showConnections(ctx, o.client(socket), strings.Join(args, ""), asJSON)
			}
			s, err := o.client(socket).Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(s)
			} else {
				err = printStatus(os.Stdout, s)
			}
			if err != nil {
				return err
			}
			if !s.Healthy {
				return exitCode(exitFailed)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&connections, "connections", false, "list the kernel's connections instead, of SERVICE or of all")
	socketFlag(cmd, &socket)
	return cmd
}

const statusLimit = 10 * time.Second

// printLine prints JSON on one line, for streams.
func printLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printStatus writes one screen for people.
func printStatus(out io.Writer, s api.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "director %s, configuration %s since %s\n", s.Director, s.Config.Hash, clock(s.Config.LoadedAt, s.At))
	for _, p := range s.Problems {
		fmt.Fprintf(w, "! %s\n", p)
	}
	for _, p := range s.Peers {
		fmt.Fprintf(w, "director %s: %s\n", p.Director, peerState(p, s.At))
	}
	if len(s.VRRP) > 0 {
		fmt.Fprintf(w, "\nVRRP\tSTATE\tPRIORITY\tINTERFACE\tADDRESSES\tSINCE\n")
	}
	for _, e := range s.VRRP {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, electionState(e, s.At), priority(e), e.Interface, addresses(e), since(e, s.At))
	}
	if g := s.Guard; g != nil {
		fmt.Fprintf(w, "\nGUARD %s since %s%s\n", g.State, clock(g.Since, s.At), detail(g.Why))
		for _, witness := range g.Witnesses {
			fmt.Fprintf(w, "  witness %s: %s\n", witness.Address, answers(witness))
		}
	}
	for _, svc := range s.Services {
		fmt.Fprintf(w, "\nSERVICE %s %s %s: %s, weight alive %d (quorum %d)\n", svc.Name, serviceAddress(svc), svc.Scheduler, serviceState(svc), svc.WeightAlive, svc.Quorum)
		fmt.Fprintf(w, "  REAL SERVER\tWEIGHT\tOF\tHEALTH\tACTIVE\tINACTIVE\tWHY\n")
		for _, rs := range svc.RealServers {
			fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%d\t%d\t%s\n", rs.Address, weight(rs.Weight), rs.Configured, health(rs), rs.Active, rs.Inactive, why(rs))
		}
		if f := svc.Fallback; f != nil && f.Active {
			fmt.Fprintf(w, "  %s\t%s\t-\tfallback\t%d\t%d\tserves since %s\n", f.Address, weight(f.Weight), f.Open, f.Inactive, clock(f.Since, s.At))
		}
		for _, d := range s.IPVS.Draining {
			if d.Service == svc.Name {
				fmt.Fprintf(w, "  %s\t0\t-\tleft the file, draining\t\t\t%s\n", d.RealServer, draining(d, s.At))
			}
		}
	}
	printSync(w, s.IPVS.Sync)
	return w.Flush()
}

// peerState is how another director is, in short.
func peerState(p api.PeerStatus, now time.Time) string {
	if !p.Up {
		return "DOES NOT ANSWER since " + clock(p.Since, now) + detail(p.Error)
	}
	var parts []string
	for _, e := range p.VRRP {
		parts = append(parts, e.Name+" "+e.State)
	}
	if p.Waits != "" {
		parts = append(parts, p.Waits)
	}
	if p.ProblemCount > 0 {
		parts = append(parts, fmt.Sprintf("%d PROBLEMS, the first: %s", p.ProblemCount, strings.Join(p.Problems[:min(len(p.Problems), 1)], "")))
	}
	return strings.Join(append(parts, "configuration "+p.ConfigHash), ", ")
}

func serviceAddress(svc api.ServiceStatus) string {
	if svc.FWMark != 0 {
		return fmt.Sprintf("fwmark %d", svc.FWMark)
	}
	return svc.Protocol + " " + svc.Address
}

// serviceState is in capitals what an engineer on call should see.
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
	if d.Left != nil {
		left = fmt.Sprintf("%d connections", *d.Left)
	}
	return fmt.Sprintf("%s left, removed in %v at the latest", left, max(d.Deadline.Sub(now), 0).Round(time.Second))
}

// printSync tells of the connection synchronisation, when there is one.
func printSync(w io.Writer, sync *api.SyncStatus) {
	if sync == nil {
		return
	}
	half := func(d *api.SyncDaemonStatus) string {
		if d == nil {
			return "off"
		}
		return fmt.Sprintf("on %s, id %d", d.Interface, d.ID)
	}
	fmt.Fprintf(w, "\nSYNC sends: %s; receives: %s%s\n", half(sync.Master), half(sync.Backup), detail(sync.Error))
}

func answers(w api.WitnessStatus) string {
	switch {
	case w.LastProbe == nil:
		return "not asked yet"
	case w.Answers:
		return "answers"
	}
	return "SILENT" + detail(w.LastProbe.Detail)
}

// detail is a text after a colon, or nothing.
func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// electionState names the state, and the master that is heard while it is
// another director.
func electionState(e api.ElectionStatus, now time.Time) string {
	text := e.State
	if e.State == "backup" && e.Master != "" {
		text = fmt.Sprintf("backup of %s (priority %d)", e.Master, e.MasterPriority)
	}
	switch {
	case e.Held && e.HeldUntil.IsZero():
		text += ", stays away until lvsd handover --end"
	case e.Held:
		text += ", stays away until " + clock(e.HeldUntil, now)
	case e.Waits != "":
		text += ", " + e.Waits
	}
	return text
}

// priority is the effective one, and what bends it.
func priority(e api.ElectionStatus) string {
	text := strconv.Itoa(int(e.Priority))
	for _, t := range e.Tracked {
		if t.Fault {
			text += ", " + t.What + ": fault"
		} else {
			text += fmt.Sprintf(", %s: %+d", t.What, t.Delta)
		}
	}
	return text
}

func addresses(e api.ElectionStatus) string {
	if !e.Holding {
		return "not here"
	}
	texts := make([]string, len(e.Addresses))
	for i, a := range e.Addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

func since(e api.ElectionStatus, now time.Time) string {
	text := clock(e.Since, now)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

func weight(w *int) string {
	if w == nil {
		return "-"
	}
	return strconv.Itoa(*w)
}

func health(rs api.RealServerStatus) string {
	if rs.Draining {
		return rs.Verdict + ", draining"
	}
	return rs.Verdict
}

// why is the cause of the weight; for a server at its full weight the last
// probe says more.
func why(rs api.RealServerStatus) string {
	if rs.Wanted == rs.Configured && !rs.Draining && rs.Verdict == "up" && rs.LastProbe != nil {
		p := rs.LastProbe
		return fmt.Sprintf("%s %s in %s", p.Type, p.Reason, (time.Duration(p.Took * float64(time.Second))).Round(10*time.Microsecond))
	}
	return rs.Why
}

// clock names a moment: the time of day, with the date when it is not today's.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
