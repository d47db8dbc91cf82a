// Kernel modules of User-Mode Linux's guest: those that every test needs, loaded
// beforehand. Another kernel loads them on demand, which is tested there.

package main

import (
	"os"
	"path/filepath"

	"lvsd/integration/lab/internal/runner"
)

// modulesVariable passes the folder of the modules of all versions to the guest.
const modulesVariable = "LVSD_LAB_MODULES"

// wantedModules are loaded beforehand: IPVS with its schedulers, because
// loading them late would be measured by a test, and what hosts are made of.
var wantedModules = []string{
	"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_dh", "ip_vs_sh",
	"ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh", "ip_vs_twos",
	"veth", "bridge", "af_packet", "macvlan", "dummy", "ipip", "sch_netem", "nf_tables", "fuse",
}

// loadModules ignores errors: a missing module is reported by the kernel when it is
// used.
func loadModules() {
	version, err := runner.KernelVersion()
	if err != nil {
		runner.Warnf("%v", err)
		return
	}
	dir := filepath.Join(os.Getenv(modulesVariable), version)
	if err := runner.LinkModules(dir, version); err != nil {
		runner.Warnf("%v", err)
	}
	deps, err := runner.ReadDependencies(dir)
	if err != nil {
		runner.Warnf("%v", err)
		return
	}
	for _, m := range wantedModules {
		if err := deps.Load(m); err != nil {
			runner.Warnf("%v", err)
		}
	}
}
