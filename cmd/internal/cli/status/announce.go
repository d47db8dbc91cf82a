// This file lays out the announcements.

package status

import (
	"fmt"
	"slices"
	"strings"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
)

// announces writes the announcements, with the state on every director.
func (d drawing) announces() {
	if len(d.Announces) == 0 {
		return
	}
	t := table.Table{Columns: []table.Column{{Title: "ANNOUNCE"}, {Title: d.Director + " (here)"}}}
	for _, p := range d.Peers {
		t.Columns = append(t.Columns, table.Column{Title: p.Director, Drop: 1})
	}
	t.Columns = append(t.Columns, table.Column{Title: "ADDRESSES", Drop: 2}, table.Column{Title: "TABLE", Drop: 3}, table.Column{Title: "SINCE"})
	for _, a := range d.Announces {
		row := []table.Cell{table.Text(a.Name), announceCell(a.Announced, a.Kept, a.Reason == "start" || a.Standby)}
		for _, p := range d.Peers {
			row = append(row, peerAnnounce(p, a.Name))
		}
		since := Clock(a.Since, d.At)
		switch {
		case a.Standby && a.StandbyUntil.IsZero():
			since += ", standby until lvsd handover --end"
		case a.Standby:
			since += ", standby until " + Clock(a.StandbyUntil, d.At)
		}
		t.Rows = append(t.Rows, append(row, table.Text(announcedAddresses(a)), table.Text(fmt.Sprint(a.Table)), table.Text(since+Detail(a.Why))))
	}
	d.out.WriteString("\n")
	d.Table(d.out, t)
}

// announceCell is the state of an announcement on one director. Withdrawn on purpose is
// no fault.
func announceCell(announced, kept, intended bool) table.Cell {
	switch {
	case kept:
		return table.Cell{Text: "KEPT", Style: table.Bad}
	case announced:
		return table.Cell{Text: "announced", Style: table.Good}
	case intended:
		return table.Text("not announced")
	}
	return table.Cell{Text: "WITHDRAWN", Style: table.Bad}
}

func peerAnnounce(p api.PeerStatus, name string) table.Cell {
	i := slices.IndexFunc(p.Announces, func(a api.PeerAnnounce) bool { return a.Name == name })
	switch {
	case !p.Up:
		return table.Cell{Text: "?", Style: table.Bad}
	case i < 0:
		return table.Cell{Text: "not configured", Style: table.Bad}
	}
	return announceCell(p.Announces[i].Announced, p.Announces[i].Kept, true)
}

// announcedAddresses names the addresses; those whose route is missing are marked.
func announcedAddresses(a api.AnnounceStatus) string {
	var texts []string
	for i, v := range a.Addresses {
		if i == shownAddresses {
			texts = append(texts, fmt.Sprintf("and %d more", len(a.Addresses)-i))
			break
		}
		text := v.Address
		if a.Announced && !v.Routed {
			text += " (no route)"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}
