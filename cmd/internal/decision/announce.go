package decision

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvsd/config"
)

// AnnounceReason is why addresses are announced or not: a bounded code.
type AnnounceReason string

const (
	AnnounceServing AnnounceReason = "serving" // announced: the services have their quorum
	AnnounceStart   AnnounceReason = "start"   // not yet: health or the kernel's table is not known
	AnnounceQuorum  AnnounceReason = "quorum"  // the quorum is lost
	AnnounceGuard   AnnounceReason = "guard"   // the guard against mass failure froze the health
	AnnounceStandby AnnounceReason = "standby" // this director is on standby after a handover
	AnnounceIPVS    AnnounceReason = "ipvs"    // the kernel's IPVS table cannot be read
	AnnounceStop    AnnounceReason = "stop"    // lvsd stops
	AnnounceRemoved AnnounceReason = "removed" // it left the configuration
)

// AnnounceReasons are the reasons for which a route is withdrawn.
var AnnounceReasons = []AnnounceReason{AnnounceQuorum, AnnounceGuard, AnnounceStandby, AnnounceIPVS, AnnounceStop, AnnounceRemoved}

// Announcement is what is decided for one [[announce]].
type Announcement struct {
	Name string
	// Announced: its addresses have routes, with Metric.
	Announced bool
	Metric    uint32
	// Serving: announced, with a routing daemon, and able to serve. Other directors rely on
	// it before they withdraw.
	Serving bool
	// Kept: announced although this director should not, because no other one serves. On
	// standby it may be Serving too.
	Kept   bool
	Reason AnnounceReason
	Why    string    // for people
	Since  time.Time // of Announced, Kept and Reason

	// Lost is since when this director cannot serve; zero: it can. What peers reported
	// before does not count.
	Lost time.Time
	// ready is when the first results were there, from which hold_start runs; able is since
	// when a director can serve again that withdrew; relieved is since when another director
	// serves while this one is Kept; alone is since when none serves while this one is on
	// standby and could.
	ready, able, relieved, alone time.Time
}

// Adopted returns the announcement of a route that an earlier run left: it stays until the
// first results.
func Adopted(a config.Announce, metric uint32, now time.Time) Announcement {
	return Announcement{Name: a.Name, Announced: true, Metric: metric, Reason: AnnounceStart, Since: now, Why: "kept from before the restart"}
}

// AnnounceInputs is all that announcements depend on.
type AnnounceInputs struct {
	Now      time.Time
	Config   *config.Config
	Services []Service
	Guard    Guard
	// Waits is what this director waits for after its start: results of its checks.
	Waits string
	// Synced: the kernel's IPVS table is the desired one. IPVSFault is why the table is
	// not known any more; "": it is.
	Synced    bool
	IPVSFault string
	Standby   map[string]bool // by announcement
	// DaemonGone: the routing daemon was gone when it was looked for, by announcement.
	DaemonGone map[string]bool
	Peers      []Peer
	// Connections is how many the kernel knows; negative: not known.
	Connections int
	Before      []Announcement
}

const (
	// connectionsPoll is how often connections are compared with the peers'.
	connectionsPoll = time.Second
	// announcePoll is how often an announcement is decided again that waits for peers or
	// for the kernel's table.
	announcePoll = 100 * time.Millisecond
	// keptGrace is how long another director must serve before one that kept its routes
	// for want of others withdraws them: directors that recover together do not withdraw
	// for the first of them and return. Routers that prefer the lower metric use only those
	// that have recovered meanwhile.
	keptGrace = 5 * time.Second
	// standbyGrace is how long a director on standby waits for one that announces and does
	// not serve: it may be one that continues after a crash.
	standbyGrace = 5 * time.Second
)

// Announcements decides which addresses this director announces, in the order of the file.
// next is when to decide again; zero: when something changes.
func Announcements(in AnnounceInputs) (all []Announcement, next time.Time) {
	if len(in.Config.Announces) == 0 {
		return nil, next
	}
	services := make(map[string]*Service, len(in.Services))
	for i := range in.Services {
		services[in.Services[i].Name] = &in.Services[i]
	}
	for _, c := range in.Config.Announces {
		d := announceDecider{AnnounceInputs: in, config: c, services: services, next: &next}
		for _, b := range in.Before {
			if b.Name == c.Name {
				d.before = b
			}
		}
		a := d.decide()
		a.Name, a.Since = c.Name, in.Now
		if b := d.before; b.Name != "" && b.Announced == a.Announced && b.Kept == a.Kept && b.Reason == a.Reason {
			a.Since = b.Since
		}
		all = append(all, a)
	}
	return all, next
}

// announceDecider decides for one announcement.
type announceDecider struct {
	AnnounceInputs
	config   config.Announce
	services map[string]*Service
	before   Announcement // zero: new
	next     *time.Time
}

func (d *announceDecider) wakeAt(t time.Time) { *d.next = Earliest(*d.next, t) }

func (d *announceDecider) announced(reason AnnounceReason, format string, args ...any) Announcement {
	return Announcement{Announced: true, Metric: d.config.Serving, Reason: reason, Why: fmt.Sprintf(format, args...), ready: d.before.ready}
}

func (d *announceDecider) withdrawn(reason AnnounceReason, format string, args ...any) Announcement {
	return Announcement{Reason: reason, Why: fmt.Sprintf(format, args...), ready: d.before.ready}
}

func (d *announceDecider) kept(reason AnnounceReason, format string, args ...any) Announcement {
	a := d.announced(reason, format, args...)
	a.Kept, a.Metric = true, d.config.Draining
	return a
}

func (d *announceDecider) decide() Announcement {
	if a, starting := d.start(); starting {
		return a
	}
	if d.IPVSFault != "" {
		return d.withdrawn(AnnounceIPVS, "%s", d.IPVSFault)
	}
	reason, why := d.unable()
	if tookBack := d.before.Kept && !d.before.alone.IsZero(); d.Standby[d.config.Name] && (reason == "" || !tookBack) {
		return d.standby(reason == "")
	}
	if reason != "" {
		return d.failed(reason, why)
	}
	if a, held := d.returns(); held {
		return a
	}
	return d.heard(d.announced(AnnounceServing, "%s", d.quorumText()))
}

// heard completes an announcement of a director that can serve: it does where its routing
// daemon runs.
func (d *announceDecider) heard(a Announcement) Announcement {
	if a.Serving = !d.DaemonGone[d.config.Name]; !a.Serving {
		a.Why += "; the routing daemon is not running, so no router learns it"
	}
	return a
}

// returns holds a director back that withdrew because it could not serve, until it has been
// able to for hold_start, while another one serves: services that come and go do not move
// the routes, and their clients, each time.
func (d *announceDecider) returns() (a Announcement, held bool) {
	b := d.before
	if b.Announced || b.Reason != AnnounceQuorum && b.Reason != AnnounceGuard && b.Reason != AnnounceIPVS {
		return a, false
	}
	able := Earliest(b.able, d.Now)
	end, server := able.Add(d.config.HoldStart), d.server()
	if server == "" || !d.Now.Before(end) {
		return a, false
	}
	d.wakeAt(end)
	a = d.withdrawn(b.Reason, "can serve again, and waits %v (hold_start) while %s is serving", d.config.HoldStart, server)
	a.able = able
	return a, true
}

// server returns another director that serves, as far as is known; "": none.
func (d *announceDecider) server() string {
	for _, p := range d.Peers {
		if p.Up && p.Announces[d.config.Name].Serving {
			return p.Name
		}
	}
	return ""
}

// start keeps the state of before until the checks have results, hold_start is over and the
// kernel's table is there: a route that an earlier run left stays, a new one waits.
func (d *announceDecider) start() (a Announcement, starting bool) {
	hold := d.before.Reason == AnnounceStart || d.before.Name == ""
	if !hold {
		return a, false
	}
	adopted := d.before.Announced && !d.Standby[d.config.Name]
	wait := func(format string, args ...any) (Announcement, bool) {
		if adopted {
			a := d.announced(AnnounceStart, "kept from before the restart: "+format, args...)
			a.Metric = d.before.Metric
			return a, true
		}
		return d.withdrawn(AnnounceStart, format, args...), true
	}
	if d.Waits != "" {
		return wait("%s", d.Waits)
	}
	if d.before.ready.IsZero() {
		d.before.ready = d.Now
	}
	if end := d.before.ready.Add(d.config.HoldStart); !adopted && d.Now.Before(end) {
		d.wakeAt(end)
		return wait("waiting until %v after its first results (hold_start)", d.config.HoldStart)
	}
	if !d.Synced {
		d.wakeAt(d.Now.Add(announcePoll))
		return wait("waiting for the kernel's IPVS table")
	}
	if text := d.waitsForConnections(); text != "" && !adopted {
		d.wakeAt(d.Now.Add(connectionsPoll))
		return wait("%s", text)
	}
	return a, false
}

// waitsForConnections returns what a director with connection sync waits for, while others
// have the clients: routers would move some of them here. "": nothing.
func (d *announceDecider) waitsForConnections() string {
	left := d.config.SyncHold - d.Now.Sub(d.before.ready)
	if d.Config.IPVS.Sync == nil || left <= 0 {
		return ""
	}
	lacks := ""
	for _, p := range d.Peers {
		switch {
		case !p.Up && !p.Unreachable:
			lacks = p.Name + " has not replied yet"
		case !p.Up || !p.Announces[d.config.Name].Announced:
		case p.Connections < 0: // too many to be counted in time, or a busy machine
			lacks = "those of " + p.Name + " are not counted"
		case !enough(d.Connections, p.Connections):
			lacks = fmt.Sprintf("%d of the %d of %s synchronised", max(d.Connections, 0), p.Connections, p.Name)
		}
	}
	if lacks == "" {
		return ""
	}
	return fmt.Sprintf("waiting for connections: %s, %v of sync_hold left", lacks, left.Round(time.Second))
}

// unable returns why this director cannot serve; "": it can.
func (d *announceDecider) unable() (AnnounceReason, string) {
	if d.Guard.Active() {
		return AnnounceGuard, "the guard against mass failure froze the health: " + d.Guard.Why
	}
	if up, lost := d.quorums(); len(up) == 0 || d.config.All && len(lost) > 0 {
		return AnnounceQuorum, "quorum lost: " + firstNames(lost)
	}
	return "", ""
}

// quorums returns the services with a quorum and those without.
func (d *announceDecider) quorums() (up, lost []string) {
	for _, name := range d.config.Services {
		switch s := d.services[name]; {
		case s == nil: // decided for another configuration
		case s.Up:
			up = append(up, name)
		default:
			lost = append(lost, name)
		}
	}
	return up, lost
}

// shownNames is how many names a reason has.
const shownNames = 5

func firstNames(names []string) string {
	if more := len(names) - shownNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownNames], ", "), more)
	}
	return strings.Join(names, ", ")
}

func (d *announceDecider) quorumText() string {
	if up, lost := d.quorums(); len(lost) > 0 {
		return fmt.Sprintf("%d of %d services have their quorum", len(up), len(up)+len(lost))
	}
	return "all services have their quorum"
}

// fallbackServes reports whether a fallback serves for each service without a quorum.
func (d *announceDecider) fallbackServes() bool {
	_, lost := d.quorums()
	return len(lost) > 0 && !slices.ContainsFunc(lost, func(name string) bool { return !d.services[name].Fallback.Active })
}

// standby withdraws the addresses, and takes them back while no other director serves them.
func (d *announceDecider) standby(able bool) Announcement {
	serves, announces, unknown := false, false, false
	for _, p := range d.Peers {
		switch a := p.Announces[d.config.Name]; {
		case !p.Up:
			unknown = unknown || !p.Unreachable // not asked long enough
		case a.Serving:
			// Two on standby that took them back do not withdraw for each other.
			serves = serves || !a.Kept || !d.before.Kept
		case a.Announced:
			announces = true
		}
	}
	if !able || len(d.Peers) == 0 || serves || unknown {
		return d.withdrawn(AnnounceStandby, "standby after a handover")
	}
	alone := Earliest(d.before.alone, d.Now)
	if end := alone.Add(standbyGrace); announces && !d.before.Kept && d.Now.Before(end) {
		d.wakeAt(end)
		a := d.withdrawn(AnnounceStandby, "standby after a handover; no other director is serving now")
		a.alone = alone
		return a
	}
	a := d.heard(d.kept(AnnounceStandby, "standby, but no other director is serving"))
	a.alone = alone
	return a
}

// failed decides for a director that cannot serve. It withdraws its addresses when another
// director reported, after that, that it serves; and keeps or takes them, with the draining
// metric, when others reply and none serves. Each of two that fail together counts only what
// the other reported after its own failure, so that they never withdraw because of each
// other.
func (d *announceDecider) failed(reason AnnounceReason, why string) Announcement {
	lost := d.before.Lost
	if lost.IsZero() {
		lost = d.Now
	}
	serving, recovered, waiting, replied := "", false, false, 0
	for _, p := range d.Peers {
		switch a := p.Announces[d.config.Name]; {
		case !p.Up:
		case !p.RequestedAt.After(lost):
			waiting = true
		case a.Serving:
			serving, recovered = p.Name, recovered || !a.Kept // one on standby has not failed before
		default:
			replied++
		}
	}
	var a Announcement
	switch {
	case d.config.Fault:
		a = d.withdrawn(reason, "%s", why)
	case recovered && d.before.Kept && !d.relieved():
		a = d.kept(reason, "%s; %s is serving again", why, serving)
		a.relieved = Earliest(d.before.relieved, d.Now)
		d.wakeAt(a.relieved.Add(keptGrace))
	case serving != "":
		a = d.withdrawn(reason, "%s; %s is serving", why, serving)
	case waiting && d.before.Announced:
		a = d.announced(reason, "%s; querying the other directors", why)
		a.Kept, a.Metric = d.before.Kept, d.before.Metric
		d.wakeAt(d.Now.Add(announcePoll))
	case waiting:
		a = d.withdrawn(reason, "%s; querying the other directors", why)
		d.wakeAt(d.Now.Add(announcePoll))
	case replied > 0:
		a = d.kept(reason, "%s; no other director is serving either", why)
	case reason == AnnounceQuorum && d.fallbackServes():
		a = d.kept(reason, "%s; the fallback is serving", why)
	default:
		a = d.withdrawn(reason, "%s", why)
	}
	if a.Lost = lost; d.Standby[d.config.Name] {
		a.alone = d.before.alone
	}
	return a
}

// relieved reports whether another director has served for long enough.
func (d *announceDecider) relieved() bool {
	return !d.before.relieved.IsZero() && d.Now.Sub(d.before.relieved) >= keptGrace
}
