package oncall_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestOncallAlertsOfThePair: a drill and a reload wake nobody; then one fault of the
// elections and directors after the other, each with its alert, and no other; and
// what the dashboard asks has been answered.
func TestOncallAlertsOfThePair(t *testing.T) {
	begun := time.Now()
	w := newWatched(t)
	w.drill(t)
	for _, f := range slices.Concat(w.ofElections(w.LB[0], w.LB[1]), w.ofDirectors(w.LB[0], w.LB[1])) {
		w.run(t, f)
	}
	w.dashboard(t, begun)
}

// TestOncallAlertsOfServices: the same of files, services, servers and the kernel's
// table.
func TestOncallAlertsOfServices(t *testing.T) {
	w := newWatched(t)
	for _, f := range slices.Concat(w.ofFiles(w.LB[0], w.LB[1]), w.ofServers(w.LB[0], w.LB[1]), w.ofTheTable(w.LB[0], w.LB[1])) {
		w.run(t, f)
	}
}

// drill is what a healthy pair goes through: a handover and back, and a reload of
// both, with clients. It raises nothing.
func (w *watched) drill(t *testing.T) {
	lb1, lb2 := w.LB[0], w.LB[1]
	w.forget()
	stop := w.clients(3)
	defer stop()
	if out, err := lb1.LVSD("handover", "web", "--for", "1h", "--socket", lb1.Socket); err != nil {
		t.Fatal(out, err)
	}
	lb2.WaitState("master", 30*time.Second)
	// It is watched for longer than any rule waits that pages.
	w.watchFor(9 * time.Second)
	if out, err := lb1.LVSD("handover", "--end", "--socket", lb1.Socket); err != nil {
		t.Fatal(out, err)
	}
	lb1.WaitState("master", 30*time.Second)
	w.take(strings.Replace(w.text, ":80\", weight = 1 }", ":80\", weight = 3 }", 1), lb1, lb2)
	w.take(w.text, lb1, lb2)
	w.watchFor(8 * time.Second)
	if heard := but(w.heard()); len(heard) > 0 {
		t.Errorf("a drill and a reload raise %q, of them pages: %q", heard, w.pages())
	}
}

// watchFor waits until Prometheus has evaluated its rules for so long.
func (w *watched) watchFor(d time.Duration) {
	w.T.Helper()
	begun := time.Now()
	w.WaitUntil(d+time.Minute, "the rules to be evaluated", func() bool {
		return time.Since(begun) >= d && len(w.query("ALERTS or up")) > 0
	})
}

func (w *watched) ofFiles(lb1, lb2 *lvsdtest.Director) []fault {
	good := func() { w.take(w.text, lb1, lb2) }
	return []fault{{
		name: "a broken file is reloaded",
		cause: func() {
			w.WriteFile("lvsd.toml", w.text+"[[nonsense]]\n")
			if out, err := lb1.Reload(); err == nil {
				w.T.Fatal(out)
			}
		},
		want: []string{"LvsdReloadFailed lb1"}, mend: good,
		on: lb1, confirm: map[string]string{"LvsdReloadFailed": "nonsense"},
	}, {
		name:  "one director is reloaded, and the other is not",
		cause: func() { w.take(w.text+"# another line\n", lb2) },
		want:  []string{"LvsdConfigDiffers"}, mend: good,
		on: lb1, confirm: map[string]string{"LvsdConfigDiffers": "runs another configuration"},
	}, {
		name: "a drain and a handover are forgotten, and a certificate is about to end",
		cause: func() {
			w.certify(3 * 24 * time.Hour)
			w.take(strings.Replace(w.text, "23:80\", weight = 1 }", "23:80\", weight = 0 }", 1), lb1, lb2)
			if out, err := lb2.LVSD("handover", "web", "--socket", lb2.Socket); err != nil {
				w.T.Fatal(out, err)
			}
		},
		want: []string{"LvsdDrainForgotten web 10.77.0.23:80", "LvsdHandoverForgotten lb2 web", "LvsdCertificateExpiring secure 10.77.0.23:443"},
		mend: func() {
			w.certify(60 * 24 * time.Hour)
			good()
			if out, err := lb2.LVSD("handover", "--end", "--socket", lb2.Socket); err != nil {
				w.T.Fatal(out, err)
			}
		},
		on: lb2, confirm: map[string]string{"LvsdDrainForgotten": "drain", "LvsdHandoverForgotten": "stays away", "LvsdCertificateExpiring": "certificate"},
	}}
}

func (w *watched) ofServers(lb1, lb2 *lvsdtest.Director) []fault {
	return []fault{{
		name:  "most servers die",
		cause: func() { w.servers[0].Stop(); w.servers[1].Stop() },
		want:  []string{"LvsdMassFailure web"}, allow: []string{"LvsdRealServerDown web 10.77.0.21:80", "LvsdRealServerDown web 10.77.0.22:80"},
		mend: func() { w.servers[0].Start(); w.servers[1].Start() },
		on:   lb1, confirm: map[string]string{"LvsdMassFailure": "is down"},
	}, {
		name: "all servers of a service die, and one stays dead",
		cause: func() {
			for _, s := range w.servers {
				s.Stop()
			}
			w.wait(time.Minute, "LvsdServiceBelowQuorum web")
			w.servers[0].Start()
			w.servers[1].Start()
		},
		want: []string{"LvsdServiceBelowQuorum web", "LvsdRealServerDown web 10.77.0.23:80"},
		// Two come back one after the other.
		allow: []string{"LvsdMassFailure web"},
		mend:  func() { w.servers[2].Start() },
		on:    lb1, confirm: map[string]string{"LvsdRealServerDown": "connection refused", "LvsdServiceBelowQuorum": "10.77.0.23:80"},
	}, {
		name: "the backup does not reach the servers",
		cause: func() {
			for _, r := range w.Real {
				lb2.MustRun("ip", "route", "add", "unreachable", r.Addr().String())
			}
		},
		want: []string{"LvsdBackupCannotServe lb2 secure", "LvsdBackupCannotServe lb2 web"},
		mend: func() {
			for _, r := range w.Real {
				lb2.MustRun("ip", "route", "del", "unreachable", r.Addr().String())
			}
		},
		on: lb2, confirm: map[string]string{"LvsdBackupCannotServe": "unreachable"},
	}, {
		name:  "the backup does not reach one of the servers",
		cause: func() { lb2.MustRun("ip", "route", "add", "unreachable", w.Real[0].Addr().String()) },
		want:  []string{"LvsdHealthDiffers web"},
		mend:  func() { lb2.MustRun("ip", "route", "del", "unreachable", w.Real[0].Addr().String()) },
		on:    lb1, confirm: map[string]string{"LvsdHealthDiffers": "otherwise"},
	}}
}

// undos are what mends the causes of a fault.
type undos []func()

func (u *undos) all() {
	for _, f := range *u {
		f()
	}
	*u = nil
}

func (w *watched) ofElections(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	mend := undo.all
	return []fault{{
		name: "the directors do not hear each other's adverts",
		cause: func() {
			for _, d := range w.LB {
				undo = append(undo, packetFilter(d.Host, "-p 112 -j DROP"))
			}
		},
		want: []string{"LvsdTwoMasters web"}, mend: mend,
		on: lb2, confirm: map[string]string{"LvsdTwoMasters": "master, 100"},
	}, {
		name:  "a stranger is master of the same virtual router",
		cause: func() { undo = append(undo, w.forge(50)) },
		want:  []string{"LvsdElectionContested web"}, mend: mend,
		on: lb1, confirm: map[string]string{"LvsdElectionContested": "10.77.0.2"},
	}, {
		name:  "the cable of the backup is cut",
		cause: func() { lb2.CutCable() },
		want:  []string{"LvsdElectionFault lb2 web"}, mend: func() { lb2.PlugCable() },
		on: lb2, confirm: map[string]string{"LvsdElectionFault": "fault"},
	}, {
		name:  "both cables are cut",
		cause: func() { lb1.CutCable(); lb2.CutCable() },
		want:  []string{"LvsdNoMaster web"}, mend: func() { lb1.PlugCable(); lb2.PlugCable() },
		// The cables come back one after the other.
		allow: []string{"LvsdElectionFault lb1 web", "LvsdElectionFault lb2 web"},
		on:    lb1, confirm: map[string]string{"LvsdNoMaster": "fault"},
	}}
}

func (w *watched) ofTheTable(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	mend := undo.all
	return []fault{{
		name: "somebody removes the address and writes the table, and nobody is told",
		cause: func() {
			w.take(strings.Replace(w.text, "[global]\n", "[global]\nnotify = [\"/bin/false\"]\n", 1), lb1, lb2)
			lb1.MustRun("ip", "address", "del", lvsdtest.VIP+"/32", "dev", "eth0")
			lb1.MustRun("ipvsadm", "-a", "-t", lvsdtest.VIPPort, "-r", "10.77.0.77:80", "-g")
		},
		want: []string{"LvsdAddressRemoved lb1 web", "LvsdForeignWriter lb1", "LvsdNotTold lb1"},
		// Only what changes there is told there.
		allow: []string{"LvsdNotTold lb2"},
		mend: func() {
			lb1.MustRun("ipvsadm", "-d", "-t", lvsdtest.VIPPort, "-r", "10.77.0.77:80")
			w.take(w.text, lb1, lb2)
		},
		on: lb1, confirm: map[string]string{"LvsdForeignWriter": "10.77.0.77:80", "LvsdAddressRemoved": "master", "LvsdNotTold": "/bin/false"},
	}, {
		name: "the kernel refuses a server",
		cause: func() {
			text := strings.Replace(w.text, "real_servers = [\n", "real_servers = [\n  { address = \"10.77.0.255:80\", weight = 1 },\n", 1)
			w.WriteFile("lvsd.toml", text)
			for _, d := range w.LB {
				_, _ = d.Reload() // the configuration runs, and is not all in the kernel
			}
		},
		want:  []string{"LvsdWritesRefused lb1", "LvsdWritesRefused lb2"},
		allow: []string{"LvsdRealServerDown web 10.77.0.255:80"},
		mend:  func() { w.take(w.text, lb1, lb2) },
		on:    lb1, confirm: map[string]string{"LvsdWritesRefused": "10.77.0.255"},
	}, {
		name: "the interface of the synchronisation goes away",
		cause: func() {
			for _, line := range []string{"ip link set eth2 down", "ip link set eth2 name away", "ipvsadm --stop-daemon master", "ipvsadm --stop-daemon backup"} {
				lb1.MustRun(strings.Fields(line)...)
			}
		},
		want: []string{"LvsdSyncNotRunning lb1 backup", "LvsdSyncNotRunning lb1 master"},
		// lvsd starts them again, and is refused.
		allow: []string{"LvsdForeignWriter lb1", "LvsdWritesRefused lb1"},
		mend: func() {
			lb1.MustRun("ip", "link", "set", "away", "name", "eth2")
			lb1.MustRun("ip", "link", "set", "eth2", "up")
		},
		on: lb1, confirm: map[string]string{"LvsdSyncNotRunning": "eth2"},
	}, {
		name: "the master's connections do not arrive",
		cause: func() {
			undo = append(undo, w.clients(15), packetFilter(lb2.Host, "-p udp --dport 8848 -j DROP"))
		},
		want: []string{"LvsdSyncNotArriving lb2"}, mend: mend,
		on: lb2, confirm: map[string]string{"LvsdSyncNotArriving": "backup"},
	}}
}

func (w *watched) ofDirectors(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	mend := undo.all
	kill := func(d *lvsdtest.Director) {
		d.Process.Kill()
		<-d.Process.Done()
	}
	return []fault{{
		name: "the exchange of [pair] is filtered",
		cause: func() {
			for _, d := range w.LB {
				undo = append(undo, packetFilter(d.Host, "-p tcp --dport 8113 -j DROP"))
			}
		},
		want: []string{"LvsdPeerGone lb1 lb2", "LvsdPeerGone lb2 lb1"}, mend: mend,
		on: lb1, confirm: map[string]string{"LvsdPeerGone": "no answer"},
	}, {
		name: "Prometheus does not reach the master",
		cause: func() {
			undo = append(undo, packetFilter(lb1.Host, "-i eth1 -j DROP"))
		},
		want: []string{"LvsdDirectorDown lb1"}, mend: mend,
	}, {
		name: "the daemons are killed, one and then the other",
		cause: func() {
			kill(lb2)
			w.wait(time.Minute, "LvsdDirectorDown lb2")
			kill(lb1)
		},
		want: []string{"LvsdDirectorDown lb2", "LvsdNoDirector"},
		mend: func() {
			lb1.StartDaemon()
			lb2.StartDaemon()
		},
		on: lb1, confirm: map[string]string{"LvsdNoDirector": "is lvsd running"},
	}, {
		name: "the addresses move again and again",
		cause: func() {
			for i := 0; i < 10 && !slices.Contains(w.heard(), "LvsdElectionFlapping web"); i++ {
				lb1.CutCable()
				lb2.WaitState("master", 30*time.Second)
				lb1.PlugCable()
				lb1.WaitState("master", 30*time.Second)
			}
		},
		want: []string{"LvsdElectionFlapping web"},
		on:   lb1, confirm: map[string]string{"LvsdElectionFlapping": "→ fault"},
	}, {
		name: "the master stands still for most of the time",
		cause: func() {
			for range 12 {
				lb1.Process.Stop()
				<-time.After(700 * time.Millisecond)
				lb1.Process.Cont()
				<-time.After(300 * time.Millisecond)
			}
		},
		want: []string{"LvsdTimerLag lb1", "LvsdCheckLag lb1"}, allow: []string{"LvsdDirectorDown lb1", "LvsdPeerGone lb2 lb1"},
		on: lb1, confirm: map[string]string{"LvsdTimerLag": "master"},
	}, {
		name: "a daemon is started again and again",
		cause: func() {
			for range 3 {
				killed := time.Now()
				kill(lb2)
				lb2.StartDaemon()
				// One that was never scraped would not be counted.
				w.WaitUntil(30*time.Second, "the new daemon to be scraped", func() bool {
					return len(w.query(fmt.Sprintf("process_start_time_seconds{instance=\"lb2\"} > %d", killed.Unix()-1))) > 0
				})
			}
		},
		want: []string{"LvsdDirectorRestarts lb2"}, allow: []string{"LvsdDirectorDown lb2", "LvsdPeerGone lb1 lb2"}, last: true,
		on: lb2, confirm: map[string]string{"LvsdDirectorRestarts": "running"},
	}}
}
