// The settings of the namespace beside the table: connection timeouts and the
// two sysctls without which a dead server goes on being fed. It touches no
// other sysctl (conn_reuse_mode and its like are the operator's).

package ipvs

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Names of the operations on settings in Snapshot.Operations.
const (
	opTimeouts = "set_timeouts"
	opSysctl   = "set_sysctl"
)

// What is managed: expire_nodest_conn=1 ends connections to a server that was
// deleted instead of dropping their packets; expire_quiescent_template=1 lets
// persistent clients leave a server of weight 0.
// But while a server drains whose persistent clients are to stay it is 0.
const (
	expireNodestConn        = "expire_nodest_conn"
	expireQuiescentTemplate = "expire_quiescent_template"
)

// sysctl is one of net.ipv4.vs with its wanted value.
type sysctl struct{ name, value string }

// managed are the sysctls that ManageSysctls sets.
func (s settings) managed() []sysctl {
	template := "1"
	if s.keepTemplates {
		template = "0"
	}
	return []sysctl{{expireNodestConn, "1"}, {expireQuiescentTemplate, template}}
}

// settings is the part of a wish that is not the table.
type settings struct {
	timeouts      Timeouts
	sysctls       bool
	keepTemplates bool
}

func (w Desired) settings() settings {
	// The kernel counts in seconds and takes 0 for "leave it": round up.
	up := func(d time.Duration) time.Duration {
		return max(0, (d + time.Second - 1).Truncate(time.Second))
	}
	return settings{Timeouts{up(w.TimeoutTCP), up(w.TimeoutTCPFin), up(w.TimeoutUDP)}, w.ManageSysctls, w.KeepTemplates}
}

// settle compares the settings with the kernel's and sets those that differ. A
// setting that was right before and is not now was changed by somebody else.
func (r *Reconciler) settle(wish Desired) {
	want := wish.settings()
	was := r.set
	r.set = want
	err := r.settleTimeouts(want.timeouts, was.timeouts == want.timeouts)
	if want.sysctls {
		for _, m := range want.managed() {
			before := was.sysctls && (m.name != expireQuiescentTemplate || was.keepTemplates == want.keepTemplates)
			err = errors.Join(err, r.settleSysctl(m.name, m.value, before))
		}
	}
	said := r.settleErr
	r.settleErr = ""
	if err == nil {
		return
	}
	r.settleErr = err.Error()
	r.lastErr = r.settleErr
	if said != r.settleErr {
		r.log.Error("IPVS settings are not as wanted, will be tried again", "reason", err)
		r.note(Change{Kind: ChangeSettingsFailed, Err: err})
	}
}

func (r *Reconciler) settleTimeouts(want Timeouts, before bool) error {
	if want == (Timeouts{}) {
		return nil
	}
	have, err := r.k.Timeouts()
	if err != nil {
		return err
	}
	set, now := have.set(want)
	if set == (Timeouts{}) {
		return nil
	}
	if before && r.contests.defers(subject{setting: "timeouts"}, now.String(), time.Now()) {
		return nil
	}
	err = r.k.SetTimeouts(set)
	r.count(opTimeouts, err)
	if err != nil {
		return err
	}
	r.changedSetting(ChangeTimeouts, DriftTimeouts, "timeouts", have.String(), now.String(), before)
	return nil
}

// set answers what must be set of the wanted timeouts, 0 where nothing must, and
// what they are then.
func (t Timeouts) set(want Timeouts) (set, after Timeouts) {
	// 0 is "leave it" in what is wanted, and "no such protocol" in what is.
	pick := func(want, have time.Duration) time.Duration {
		if want == have || have == 0 {
			return 0
		}
		return want
	}
	set = Timeouts{pick(want.TCP, t.TCP), pick(want.TCPFin, t.TCPFin), pick(want.UDP, t.UDP)}
	return set, Timeouts{cmp.Or(set.TCP, t.TCP), cmp.Or(set.TCPFin, t.TCPFin), cmp.Or(set.UDP, t.UDP)}
}

func (r *Reconciler) settleSysctl(name, want string, before bool) error {
	have, err := r.k.Sysctl(name)
	if err != nil {
		return fmt.Errorf("failed to read net.ipv4.vs.%s: %w", name, err)
	}
	have = strings.Join(strings.Fields(have), " ")
	if have == want {
		return nil
	}
	p := subject{setting: "net.ipv4.vs." + name}
	if before && r.contests.defers(p, want, time.Now()) {
		return nil
	}
	err = r.k.SetSysctl(name, want)
	r.count(opSysctl, err)
	if err != nil {
		return fmt.Errorf("failed to set net.ipv4.vs.%s to %s (it is %s): %w", name, want, have, err)
	}
	r.changedSetting(ChangeSysctl, DriftSysctl, p.setting, have, want, before)
	return nil
}

func (r *Reconciler) changedSetting(kind, drift, name, from, to string, before bool) {
	if before {
		p := subject{setting: name}
		r.foreignChange(p, Drift{Kind: drift, From: to, To: from}, "IPVS setting was changed by someone else, set back", "setting", name)
		r.contests.noteWrite(p, to, r.readAt, r.interval)
		return
	}
	r.log.Info("IPVS setting changed", "setting", name, "from", from, "to", to)
	r.note(Change{Kind: kind, What: name, From: from, To: to})
}

// String is like "tcp 15m0s, tcp-fin 2m0s, udp 5m0s".
func (t Timeouts) String() string {
	return fmt.Sprintf("tcp %s, tcp-fin %s, udp %s", t.TCP, t.TCPFin, t.UDP)
}
