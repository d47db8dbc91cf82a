package ipvs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestForecastIsWhatHappens: for random desired states over random tables, with other
// writers and drains in progress, the forecast writes are those that are made, in their
// order, and so are the settings and the synchronisation.
func TestForecastIsWhatHappens(t *testing.T) {
	writes := 0
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { writes += foretold(t, seed) })
	}
	if writes < 1000 {
		t.Errorf("%d writes are too few to prove anything", writes)
	}
}

// randomWish is a desired state that concerns everything.
func randomDesired(r *rand.Rand) Desired {
	w := Desired{Table: randomTable(r), Drain: map[ServiceKey]time.Duration{}, NoDrain: map[Entry]struct{}{},
		Foreign: ForeignPolicy(r.IntN(3)), ManageSysctls: r.IntN(2) == 0, ResyncInterval: time.Hour,
		TimeoutTCP: time.Duration(r.IntN(3)) * time.Minute, TimeoutUDP: time.Duration(r.IntN(2)) * time.Hour}
	for k := range w.Table {
		if r.IntN(2) == 0 {
			w.Drain[k] = time.Duration(1+r.IntN(60)) * time.Second
		}
	}
	if r.IntN(2) == 0 {
		w.Sync = &SyncConfig{Interface: []string{"eth0", "lo"}[r.IntN(2)], ID: uint8(1 + r.IntN(2)), RefreshPeriod: time.Duration(r.IntN(3)) * time.Second}
	}
	return w
}

func foretold(t *testing.T, seed uint64) (writes int) {
	r := rand.New(rand.NewPCG(seed, 7))
	k := ipvstest.New()
	k.Change(func(t Table) {
		for key, s := range randomTable(r) {
			t[key] = s
		}
	})
	l := &memoryLedger{owned: Owned{}.With(randomPart(r, k.Table()))}
	first := randomDesired(r)
	start, err := ForecastStart(k, l.owned, first)
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, k, l, func(b *bench) {
		writes += b.compare(start, first)
		for range 4 {
			if r.IntN(2) == 0 { // another process's writes
				k.Change(func(t Table) {
					for _, key := range t.Keys() {
						if r.IntN(4) == 0 {
							delete(t, key)
						}
					}
				})
				b.after(2 * time.Second)
				b.r.Refresh(b.t.Context()) // the desired state is compared with what was read
			}
			desired := randomDesired(r)
			before := len(k.Ops())
			ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
			f, err := b.r.Forecast(ctx, desired)
			cancel()
			synctest.Wait()
			if err != nil || len(k.Ops()) != before {
				b.t.Fatalf("a forecast wrote %d times: %v", len(k.Ops())-before, err)
			}
			writes += b.compare(f, desired)
			b.after(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
	})
	return writes
}

// compare sets the desired state and compares the writes with the forecast.
func (b *bench) compare(f Forecast, w Desired) int {
	b.t.Helper()
	since, starts := len(b.k.Ops()), b.k.DaemonStarts()
	before, daemons := b.settings(), b.halves()
	g := b.r.SetDesired(w)
	synctest.Wait()
	var want []string
	for _, op := range f.Ops {
		want = append(want, op.String()+" "+op.Value())
	}
	var got []string
	for _, op := range b.k.Ops()[since:] {
		got = append(got, op.String()+" "+op.Value())
	}
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("writes (-foretold +made):\n%s", d)
	}
	for _, s := range f.Settings {
		before[s.Name] = s.To
	}
	if d := cmp.Diff(before, b.settings()); d != "" {
		b.t.Errorf("settings (-foretold +made):\n%s", d)
	}
	started := 0
	for _, c := range f.Sync {
		if daemons[c.Role.String()] = c.To; c.To != "" {
			started++
		}
	}
	if d := cmp.Diff(daemons, b.halves()); d != "" || b.k.DaemonStarts()-starts != started {
		b.t.Errorf("synchronisation, %d starts of %d (-foretold +made):\n%s", b.k.DaemonStarts()-starts, started, d)
	}
	s := b.r.Snapshot()
	if d := cmp.Diff(f.Draining, s.Draining, cmpAddr, cmp.Transformer("entry", func(d Draining) Entry { return d.Entry })); d != "" || s.Generation != g {
		b.t.Errorf("drains, generation %d of %d (-foretold +made):\n%s", s.Generation, g, d)
	}
	return len(got)
}

// settings are the kernel's, by the names of a forecast.
func (b *bench) settings() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template", "sync_threshold", "sync_refresh_period"} {
		v, err := b.k.Sysctl(name)
		if err != nil {
			b.t.Fatal(err)
		}
		if v == "3\t50" {
			v = "3 50"
		}
		all["net.ipv4.vs."+name] = v
	}
	timeouts, err := b.k.Timeouts()
	if err != nil {
		b.t.Fatal(err)
	}
	all["timeout_tcp"], all["timeout_tcp_fin"], all["timeout_udp"] = timeouts.TCP.String(), timeouts.TCPFin.String(), timeouts.UDP.String()
	return all
}

// halves are the running daemons of the synchronisation.
func (b *bench) halves() map[string]string {
	all := map[string]string{"master": "", "backup": ""}
	state, err := b.k.Daemons()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, role := range SyncRoles {
		if d := state.Daemon(role); d.Running {
			all[role.String()] = d.String()
		}
	}
	return all
}
