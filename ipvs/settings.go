// The settings of the namespace besides the table: connection timeouts, and the two
// sysctls without which connections to a dead server keep failing. Other sysctls,
// such as conn_reuse_mode, are left to the operator.

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

// The managed sysctls of net.ipv4.vs. expire_nodest_conn=1 ends connections to a
// deleted destination instead of dropping their packets. expire_quiescent_template=1
// lets persistent clients leave a destination of weight 0; KeepTemplates sets it to 0.
const (
	expireNodestConn        = "expire_nodest_conn"
	expireQuiescentTemplate = "expire_quiescent_template"
)

// sysctl is one of net.ipv4.vs with its desired value.
type sysctl struct{ name, value string }

// settings is the part of the desired state besides the table.
type settings struct {
	timeouts      Timeouts
	sysctls       bool
	keepTemplates bool
}

// managed returns the sysctls that ManageSysctls sets.
func (s settings) managed() []sysctl {
	template := "1"
	if s.keepTemplates {
		template = "0"
	}
	return []sysctl{{expireNodestConn, "1"}, {expireQuiescentTemplate, template}}
}

func (d Desired) settings() settings {
	// The kernel counts in seconds, and 0 leaves a timeout unchanged: round up.
	up := func(d time.Duration) time.Duration {
		return max(0, (d + time.Second - 1).Truncate(time.Second))
	}
	return settings{Timeouts{up(d.TimeoutTCP), up(d.TimeoutTCPFin), up(d.TimeoutUDP)}, d.ManageSysctls, d.KeepTemplates}
}

// applySettings sets the settings that differ from the kernel's. A setting that was
// desired before and differs now was changed by another process.
func (r *Reconciler) applySettings(desired Desired) {
	want, was := desired.settings(), r.settings
	r.settings = want
	err := r.applyTimeouts(want.timeouts, was.timeouts == want.timeouts)
	if want.sysctls {
		for _, m := range want.managed() {
			before := was.sysctls && (m.name != expireQuiescentTemplate || was.keepTemplates == want.keepTemplates)
			err = errors.Join(err, r.applySysctl(m.name, m.value, before))
		}
	}
	logged := r.settingsErr
	r.settingsErr = ""
	if err == nil {
		return
	}
	r.settingsErr = err.Error()
	r.lastErr = r.settingsErr
	if logged != r.settingsErr {
		r.log.Error("IPVS settings could not be applied, will be retried", "reason", err)
		r.note(Change{Kind: ChangeSettingsFailed, Err: err})
	}
}

// applyTimeouts sets the timeouts that differ; before says that they were desired
// before.
func (r *Reconciler) applyTimeouts(want Timeouts, before bool) error {
	if want == (Timeouts{}) {
		return nil
	}
	have, err := r.k.Timeouts()
	if err != nil {
		return err
	}
	set, after := have.set(want)
	if set == (Timeouts{}) {
		return nil
	}
	if before && r.conflicts.defers(subject{setting: "timeouts"}, after.String(), time.Now()) {
		return nil
	}
	err = r.k.SetTimeouts(set)
	r.count(opTimeouts, err)
	if err != nil {
		return err
	}
	r.settingChanged(ChangeTimeouts, DriftTimeouts, "timeouts", have.String(), after.String(), before)
	return nil
}

// set returns what to set so that t becomes what is wanted, 0 where nothing is to be
// set, and the timeouts after that.
func (t Timeouts) set(want Timeouts) (set, after Timeouts) {
	// 0 leaves a timeout in what is wanted; in what the kernel has it means that it
	// was built without the protocol.
	pick := func(want, have time.Duration) time.Duration {
		if want == have || have == 0 {
			return 0
		}
		return want
	}
	set = Timeouts{pick(want.TCP, t.TCP), pick(want.TCPFin, t.TCPFin), pick(want.UDP, t.UDP)}
	return set, Timeouts{cmp.Or(set.TCP, t.TCP), cmp.Or(set.TCPFin, t.TCPFin), cmp.Or(set.UDP, t.UDP)}
}

// applySysctl sets a sysctl of net.ipv4.vs if it differs.
func (r *Reconciler) applySysctl(name, want string, before bool) error {
	have, err := r.k.Sysctl(name)
	if err != nil {
		return fmt.Errorf("failed to read net.ipv4.vs.%s: %w", name, err)
	}
	have = strings.Join(strings.Fields(have), " ")
	if have == want {
		return nil
	}
	p := subject{setting: "net.ipv4.vs." + name}
	if before && r.conflicts.defers(p, want, time.Now()) {
		return nil
	}
	err = r.k.SetSysctl(name, want)
	r.count(opSysctl, err)
	if err != nil {
		return fmt.Errorf("failed to set net.ipv4.vs.%s to %s (it is %s): %w", name, want, have, err)
	}
	r.settingChanged(ChangeSysctl, DriftSysctl, p.setting, have, want, before)
	return nil
}

// settingChanged reports a setting that was set, as drift if it was desired before.
func (r *Reconciler) settingChanged(kind, drift, name, from, to string, before bool) {
	if before {
		p := subject{setting: name}
		r.foreignChange(p, Drift{Kind: drift, From: to, To: from}, "IPVS setting was modified by another process, restored", "setting", name)
		r.conflicts.noteWrite(p, to, r.readAt, r.interval)
		return
	}
	r.log.Info("IPVS setting changed", "setting", name, "from", from, "to", to)
	r.note(Change{Kind: kind, What: name, From: from, To: to})
}

// String returns for example "tcp 15m0s, tcp-fin 2m0s, udp 5m0s".
func (t Timeouts) String() string {
	return fmt.Sprintf("tcp %s, tcp-fin %s, udp %s", t.TCP, t.TCPFin, t.UDP)
}
