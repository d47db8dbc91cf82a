package preview

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestAStartGoesOnWithWhatWasDecided: a server that was coming back by slow start when
// the daemon ended has the share that it has come to; without that it keeps what the
// kernel has.
func TestAStartGoesOnWithWhatWasDecided(t *testing.T) {
	file, err := config.Parse("lvsd.toml", []byte(`
[[director]]
name = "lb1"
[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
slow_start = "1h"
check = { type = "connect" }
real_servers = [{ address = "10.0.0.9:80", weight = 100 }, { address = "10.0.0.20:80", weight = 100 }]
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	kernel := ipvstest.New()
	first, err := director.DryRunStart(c, kernel, ipvs.Owned{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	owned := ipvs.Owned{}
	kernel.Change(func(table ipvs.Table) {
		for k, s := range first.Decided.Desired.Table.Clone() {
			owned[k] = map[netip.AddrPort]struct{}{}
			for a, d := range s.Destinations {
				d.Weight = 100
				s.Destinations[a], owned[k][a] = d, struct{}{}
			}
			table[k] = s
		}
	})
	now := time.Now()
	before, err := decision.Restore(fmt.Appendf(nil, `{"version": 1, "services": [{"name": "web", "up": true, "real_servers": [
		{"address": "10.0.0.9:80", "weight": 50, "listed": true, "causes": [{"kind": "slow start", "weight": 50, "since": %[1]q}], "slow_start": {"since": %[1]q}},
		{"address": "10.0.0.20:80", "weight": 100, "listed": true, "causes": [{"kind": "configured", "weight": 100, "since": %[1]q}], "slow_start": {}}]}]}`,
		now.Add(-31*time.Minute).Format(time.RFC3339)), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		before *decision.Decision
		want   map[string]int
	}{
		{nil, map[string]int{}},
		{before, map[string]int{"10.0.0.9:80": 50}},
	} {
		f, err := director.DryRunStart(c, kernel, owned, k.before, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, s := range Build(f, nil, nil).Services {
			for _, r := range s.RealServers {
				got[r.Address] = r.Weight
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(k.want) {
			t.Errorf("the changed weights are %v, want %v", got, k.want)
		}
	}
}
