package oncall_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestOncallAlertsOfThePair: a handover and a reload raise no alert; each fault of VRRP and
// of the directors raises exactly its alerts; every query of the dashboard has data.
func TestOncallAlertsOfThePair(t *testing.T) {
	begun := time.Now()
	w := newMonitoredPair(t)
	w.NeedPacketFilter()
	w.drill(t)
	for _, f := range slices.Concat(w.vrrpFaults(w.LB[0], w.LB[1]), w.directorFaults(w.LB[0], w.LB[1])) {
		w.inject(t, f)
	}
	w.dashboard(t, begun)
}

// TestOncallAlertsOfServices: the same for faults of configuration, services, servers and
// the IPVS table.
func TestOncallAlertsOfServices(t *testing.T) {
	w := newMonitoredPair(t)
	w.NeedPacketFilter()
	for _, f := range slices.Concat(w.configFaults(w.LB[0], w.LB[1]), w.serverFaults(w.LB[0], w.LB[1]), w.tableFaults(w.LB[0], w.LB[1])) {
		w.inject(t, f)
	}
}

// drill does what a healthy pair must survive without an alert: a handover and its end, and
// a reload of both, with clients.
func (w *monitoredPair) drill(t *testing.T) {
	lb1, lb2 := w.LB[0], w.LB[1]
	w.reset()
	stop := w.openConnections(3)
	defer stop()
	if out, err := lb1.LVSD("handover", "web", "--for", "1h", "--socket", lb1.Socket); err != nil {
		t.Fatal(out, err)
	}
	lb2.WaitState("master", 30*time.Second)
	// For longer than the longest "for" of a rule of severity page.
	w.waitEvaluated(9 * time.Second)
	if out, err := lb1.LVSD("handover", "--end", "--socket", lb1.Socket); err != nil {
		t.Fatal(out, err)
	}
	lb1.WaitState("master", 30*time.Second)
	w.reload(strings.Replace(w.text, ":80\", weight = 1 }", ":80\", weight = 3 }", 1), lb1, lb2)
	w.reload(w.text, lb1, lb2)
	w.waitEvaluated(8 * time.Second)
	if received := withoutLate(w.received()); len(received) > 0 {
		t.Errorf("alerts of a handover and a reload: %q, of them pages: %q", received, w.pages())
	}
}

// waitEvaluated waits until Prometheus has evaluated its rules for this time.
func (w *monitoredPair) waitEvaluated(d time.Duration) {
	w.T.Helper()
	begun := time.Now()
	w.WaitUntil(d+time.Minute, "the rules to be evaluated", func() bool {
		return time.Since(begun) >= d && len(w.query("ALERTS or up")) > 0
	})
}

func (w *monitoredPair) configFaults(lb1, lb2 *lvsdtest.Director) []fault {
	good := func() { w.reload(w.text, lb1, lb2) }
	return []fault{{
		name: "a broken file is reloaded",
		cause: func() {
			w.WriteFile("lvsd.toml", w.text+"[[nonsense]]\n")
			if out, err := lb1.Reload(); err == nil {
				w.T.Fatal(out)
			}
		},
		want: []string{"LvsdReloadFailed lb1"}, repair: good,
		on: lb1, confirm: map[string]string{"LvsdReloadFailed": "nonsense"},
	}, {
		name:  "one director is reloaded, and the other is not",
		cause: func() { w.reload(w.text+"# another line\n", lb2) },
		want:  []string{"LvsdConfigDiffers"}, repair: good,
		on: lb1, confirm: map[string]string{"LvsdConfigDiffers": "runs another configuration"},
	}, {
		name: "the address that probes come from is missing",
		cause: func() {
			w.reload(lvsdtest.Replace(w.T, w.text, `type = "connect",`, `type = "connect", from = "10.77.0.99",`), lb1, lb2)
		},
		want: []string{"LvsdServerUnchecked lb1 web", "LvsdServerUnchecked lb2 web"}, repair: good,
		on: lb1, confirm: map[string]string{"LvsdServerUnchecked": "EADDRNOTAVAIL"},
	}, {
		name: "a drain and a handover are forgotten, and a certificate is about to end",
		cause: func() {
			w.renewCertificate(3 * 24 * time.Hour)
			w.reload(strings.Replace(w.text, "23:80\", weight = 1 }", "23:80\", weight = 0 }", 1), lb1, lb2)
			if out, err := lb2.LVSD("handover", "web", "--socket", lb2.Socket); err != nil {
				w.T.Fatal(out, err)
			}
		},
		want: []string{"LvsdDrainForgotten web 10.77.0.23:80", "LvsdHandoverForgotten lb2 web", "LvsdCertificateExpiring secure 10.77.0.23:443"},
		repair: func() {
			w.renewCertificate(60 * 24 * time.Hour)
			good()
			if out, err := lb2.LVSD("handover", "--end", "--socket", lb2.Socket); err != nil {
				w.T.Fatal(out, err)
			}
		},
		on: lb2, confirm: map[string]string{"LvsdDrainForgotten": "drain", "LvsdHandoverForgotten": "standby", "LvsdCertificateExpiring": "certificate"},
	}}
}

func (w *monitoredPair) serverFaults(lb1, lb2 *lvsdtest.Director) []fault {
	return []fault{{
		name:  "most servers die",
		cause: func() { w.servers[0].Stop(); w.servers[1].Stop() },
		want:  []string{"LvsdMassFailure web"}, allow: []string{"LvsdRealServerDown web 10.77.0.21:80", "LvsdRealServerDown web 10.77.0.22:80"},
		repair: func() { w.servers[0].Start(); w.servers[1].Start() },
		on:     lb1, confirm: map[string]string{"LvsdMassFailure": "are down"},
	}, {
		name: "all servers of a service die, and one stays dead",
		cause: func() {
			for _, s := range w.servers {
				s.Stop()
			}
			w.waitAlerts(time.Minute, "LvsdServiceBelowQuorum web")
			w.servers[0].Start()
			w.servers[1].Start()
		},
		want: []string{"LvsdServiceBelowQuorum web", "LvsdRealServerDown web 10.77.0.23:80"},
		// The servers recover one after the other.
		allow:  []string{"LvsdMassFailure web"},
		repair: func() { w.servers[2].Start() },
		on:     lb1, confirm: map[string]string{"LvsdRealServerDown": "connection refused", "LvsdServiceBelowQuorum": "10.77.0.23:80"},
	}, {
		name: "the backup does not reach the servers",
		cause: func() {
			for _, r := range w.Real {
				lb2.MustRun("ip", "route", "add", "unreachable", r.Addr().String())
			}
		},
		want: []string{"LvsdBackupCannotServe lb2 secure", "LvsdBackupCannotServe lb2 web"},
		repair: func() {
			for _, r := range w.Real {
				lb2.MustRun("ip", "route", "del", "unreachable", r.Addr().String())
			}
		},
		on: lb2, confirm: map[string]string{"LvsdBackupCannotServe": "unreachable"},
	}, {
		name:   "the backup does not reach one of the servers",
		cause:  func() { lb2.MustRun("ip", "route", "add", "unreachable", w.Real[0].Addr().String()) },
		want:   []string{"LvsdHealthDiffers web"},
		repair: func() { lb2.MustRun("ip", "route", "del", "unreachable", w.Real[0].Addr().String()) },
		on:     lb1, confirm: map[string]string{"LvsdHealthDiffers": "health of real servers differs"},
	}}
}

// undos are the functions that end a fault.
type undos []func()

func (u *undos) all() {
	for _, f := range *u {
		f()
	}
	*u = nil
}

func (w *monitoredPair) vrrpFaults(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	repair := undo.all
	return []fault{{
		name: "the directors do not receive each other's advertisements",
		cause: func() {
			for _, d := range w.LB {
				undo = append(undo, packetFilter(d.Host, "-p 112 -j DROP"))
			}
		},
		want: []string{"LvsdTwoMasters web"}, repair: repair,
		on: lb2, confirm: map[string]string{"LvsdTwoMasters": "master, 100"},
	}, {
		name:  "another router is master of the same virtual router",
		cause: func() { undo = append(undo, w.sendForeignAdverts(50)) },
		want:  []string{"LvsdElectionContested web"}, repair: repair,
		on: lb1, confirm: map[string]string{"LvsdElectionContested": "10.77.0.2"},
	}, {
		name:  "the link of the backup fails",
		cause: func() { lb2.CutCable() },
		want:  []string{"LvsdElectionFault lb2 web"}, repair: func() { lb2.PlugCable() },
		on: lb2, confirm: map[string]string{"LvsdElectionFault": "fault"},
	}, {
		name:  "another program has the address on the backup",
		cause: func() { lb2.AddAddress("eth0", lvsdtest.VIP+"/32") },
		want:  []string{"LvsdAddressConflict web"}, repair: func() { lb2.DelAddress("eth0", lvsdtest.VIP+"/32") },
		on: lb2, confirm: map[string]string{"LvsdAddressConflict": "another process"},
	}, {
		name:  "both links fail",
		cause: func() { lb1.CutCable(); lb2.CutCable() },
		want:  []string{"LvsdNoMaster web"}, repair: func() { lb1.PlugCable(); lb2.PlugCable() },
		// The links recover one after the other.
		allow: []string{"LvsdElectionFault lb1 web", "LvsdElectionFault lb2 web"},
		on:    lb1, confirm: map[string]string{"LvsdNoMaster": "fault"},
	}}
}

func (w *monitoredPair) tableFaults(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	repair := undo.all
	return []fault{{
		name: "another program removes the address and writes the table, and notifications fail",
		cause: func() {
			w.reload(strings.Replace(w.text, "[global]\n", "[global]\nnotify = [\"/bin/false\"]\n", 1), lb1, lb2)
			lb1.MustRun("ip", "address", "del", lvsdtest.VIP+"/32", "dev", "eth0")
			lb1.MustRun("ipvsadm", "-a", "-t", lvsdtest.VIPPort, "-r", "10.77.0.77:80", "-g")
		},
		want: []string{"LvsdAddressRemoved lb1 web", "LvsdForeignWriter lb1", "LvsdNotTold lb1"},
		// lb2 has notifications only if something changes there.
		allow: []string{"LvsdNotTold lb2"},
		repair: func() {
			lb1.MustRun("ipvsadm", "-d", "-t", lvsdtest.VIPPort, "-r", "10.77.0.77:80")
			w.reload(w.text, lb1, lb2)
		},
		on: lb1, confirm: map[string]string{"LvsdForeignWriter": "10.77.0.77:80", "LvsdAddressRemoved": "master", "LvsdNotTold": "/bin/false"},
	}, {
		name: "the kernel refuses a server",
		cause: func() {
			text := strings.Replace(w.text, "real_servers = [\n", "real_servers = [\n  { address = \"10.77.0.255:80\", weight = 1 },\n", 1)
			w.WriteFile("lvsd.toml", text)
			for _, d := range w.LB {
				_, _ = d.Reload() // the configuration is loaded, but not completely in the kernel
			}
		},
		want: []string{"LvsdWritesRefused lb1", "LvsdWritesRefused lb2"},
		// lb2's notifications may still fail while the reload that repairs them is done.
		allow:  []string{"LvsdRealServerDown web 10.77.0.255:80", "LvsdNotTold lb2"},
		repair: func() { w.reload(w.text, lb1, lb2) },
		on:     lb1, confirm: map[string]string{"LvsdWritesRefused": "10.77.0.255"},
	}, {
		name: "the interface of the connection synchronisation disappears",
		cause: func() {
			for _, line := range []string{"ip link set eth2 down", "ip link set eth2 name away", "ipvsadm --stop-daemon master", "ipvsadm --stop-daemon backup"} {
				lb1.MustRun(strings.Fields(line)...)
			}
		},
		want: []string{"LvsdSyncNotRunning lb1 backup", "LvsdSyncNotRunning lb1 master"},
		// lvsd starts the sync daemons again, which fails.
		allow: []string{"LvsdForeignWriter lb1", "LvsdWritesRefused lb1"},
		repair: func() {
			lb1.MustRun("ip", "link", "set", "away", "name", "eth2")
			lb1.MustRun("ip", "link", "set", "eth2", "up")
		},
		on: lb1, confirm: map[string]string{"LvsdSyncNotRunning": "eth2"},
	}, {
		name: "the master's connections are not received",
		cause: func() {
			undo = append(undo, w.openConnections(15), packetFilter(lb2.Host, "-p udp --dport 8848 -j DROP"))
		},
		want: []string{"LvsdSyncNotArriving lb2"}, repair: repair,
		on: lb2, confirm: map[string]string{"LvsdSyncNotArriving": "backup"},
	}}
}

func (w *monitoredPair) directorFaults(lb1, lb2 *lvsdtest.Director) []fault {
	var undo undos
	repair := undo.all
	return []fault{{
		name: "the exchange of [peers] is filtered",
		cause: func() {
			for _, d := range w.LB {
				undo = append(undo, packetFilter(d.Host, "-p tcp --dport 8113 -j DROP"))
			}
		},
		want: []string{"LvsdPeerGone lb1 lb2", "LvsdPeerGone lb2 lb1"}, repair: repair,
		on: lb1, confirm: map[string]string{"LvsdPeerGone": "no reply"},
	}, {
		name: "Prometheus does not reach the master",
		cause: func() {
			undo = append(undo, packetFilter(lb1.Host, "-i eth1 -j DROP"))
		},
		want: []string{"LvsdDirectorDown lb1"}, repair: repair,
	}, {
		name: "the daemons are killed, one and then the other",
		cause: func() {
			lb2.KillDaemon()
			w.waitAlerts(time.Minute, "LvsdDirectorDown lb2")
			lb1.KillDaemon()
		},
		want: []string{"LvsdDirectorDown lb2", "LvsdNoDirector"},
		repair: func() {
			lb1.StartDaemon()
			lb2.StartDaemon()
		},
		on: lb1, confirm: map[string]string{"LvsdNoDirector": "is lvsd running"},
	}, {
		name: "the addresses move repeatedly",
		cause: func() {
			for i := 0; i < 10 && !slices.Contains(w.received(), "LvsdElectionFlapping web"); i++ {
				// A link that fails a third time is held off: then by command.
				if i < 2 {
					lb1.CutCable()
					lb2.WaitState("master", 30*time.Second)
					lb1.PlugCable()
				} else {
					command := func(args ...string) {
						if out, err := lb1.LVSD(append([]string{"handover", "--socket", lb1.Socket}, args...)...); err != nil {
							w.T.Fatalf("%v: %v\n%s", args, err, out)
						}
					}
					command("web", "--force")
					lb2.WaitState("master", 30*time.Second)
					command("--end")
				}
				lb1.WaitState("master", 30*time.Second)
			}
		},
		want: []string{"LvsdElectionFlapping web"},
		on:   lb1, confirm: map[string]string{"LvsdElectionFlapping": "→ fault"},
	}, {
		name: "the master is stopped for most of the time",
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
		name: "a daemon is restarted repeatedly",
		cause: func() {
			for range 3 {
				killed := time.Now()
				lb2.KillDaemon()
				lb2.StartDaemon()
				// A daemon that was never scraped would not be counted.
				w.WaitUntil(30*time.Second, "the new daemon to be scraped", func() bool {
					return len(w.query(fmt.Sprintf("process_start_time_seconds{instance=\"lb2\"} > %d", killed.Unix()-1))) > 0
				})
			}
		},
		want: []string{"LvsdDirectorRestarts lb2"}, allow: []string{"LvsdDirectorDown lb2", "LvsdPeerGone lb1 lb2"}, last: true,
		on: lb2, confirm: map[string]string{"LvsdDirectorRestarts": "running"},
	}}
}
