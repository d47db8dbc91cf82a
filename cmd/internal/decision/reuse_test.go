package decision

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// TestUnchangedServicesAreDecidedAlike walks through random failures, reloads and
// times: what is reused of the decision before equals a fresh decision, and most of it
// is reused.
func TestUnchangedServicesAreDecidedAlike(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	taken := 0
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		now := start
		c := randomServices(r)
		health := map[checker.ID]checker.Health{}
		kernel := ipvs.Table{}
		var reused, fresh *Decision
		for step := range 40 {
			now = now.Add(time.Duration(r.IntN(4000)) * time.Millisecond)
			switch r.IntN(4) {
			case 0: // one service has another text
				next := *c
				next.Services = append([]config.Service(nil), c.Services...)
				i := r.IntN(len(next.Services))
				next.Services[i].RealServers = append([]config.RealServer(nil), next.Services[i].RealServers...)
				next.Services[i].RealServers[0].Weight = r.IntN(5)
				next.Services[i].Digest = fmt.Sprint(seed, step)
				c = &next
			case 1, 2: // one server's health changes
				health = maps.Clone(health)
				svc := c.Services[r.IntN(len(c.Services))]
				rs := svc.RealServers[r.IntN(len(svc.RealServers))]
				health[ServerID(svc, rs)] = checker.Health{State: []checker.State{checker.Up, checker.Up, checker.Down}[r.IntN(3)],
					Since: now, Weight: 100 - 50*r.IntN(2), Drain: r.IntN(9) == 0, Cause: fmt.Sprint("cause ", step)}
			}
			without := *c
			without.Services = append([]config.Service(nil), c.Services...)
			for i := range without.Services {
				without.Services[i].Digest = ""
			}
			a := Decide(Inputs{Now: now, Config: c, Health: health, Kernel: kernel, Before: reused})
			b := Decide(Inputs{Now: now, Config: &without, Health: health, Kernel: kernel, Before: fresh})
			if reused != nil {
				for i := range a.Services {
					if &a.Services[i].Servers[0] == &reused.Services[i].Servers[0] {
						taken++
					}
				}
			}
			reused, fresh = &a, &b
			if !SameDesired(a.Desired, b.Desired) || !a.Next.Equal(b.Next) {
				t.Fatalf("seed %d, step %d: the wishes differ:\n%s", seed, step, cmp.Diff(b.Desired.Table, a.Desired.Table, cmp.Comparer(func(x, y ipvs.Service) bool { return reflect.DeepEqual(x, y) })))
			}
			for i := range a.Services {
				x, y := a.Services[i], b.Services[i]
				x.digest, x.reusable, y.digest, y.reusable = "", false, "", false
				if !reflect.DeepEqual(x, y) {
					t.Fatalf("seed %d, step %d: taken over\n%+v\nfresh\n%+v", seed, step, x, y)
				}
			}
			kernel = a.Desired.Table
		}
	}
	if taken < 1500 {
		t.Errorf("%d of 12,000 decisions about services were taken over", taken)
	}
}

func randomServices(r *rand.Rand) *config.Config {
	c := &config.Config{IPVS: config.IPVS{Foreign: "alarm"}}
	for i := range 6 {
		svc := config.Service{Name: fmt.Sprint("s", i), Address: vip, Protocol: "tcp", Scheduler: "wlc", Quorum: 1 + r.IntN(3),
			OnFailure: []string{"quiesce", "remove"}[r.IntN(2)], Digest: fmt.Sprint("first ", i)}
		svc.Address = netip.MustParseAddrPort(fmt.Sprintf("10.0.0.88:%d", 80+i))
		if i == 1 {
			svc.SlowStart = 5 * time.Second
		}
		if i == 2 {
			svc.PanicThreshold = 50
		}
		if i == 3 {
			svc.FlapDamping = true
		}
		if i == 4 {
			svc.Fallback, svc.FallbackForward = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", 80+i)), "local"
		}
		for j := range 1 + r.IntN(4) {
			svc.RealServers = append(svc.RealServers, config.RealServer{Address: server(j), Weight: 1 + r.IntN(4), Forward: "dr"})
		}
		c.Services = append(c.Services, svc)
	}
	return c
}

// TestEveryFieldOfDesiredCounts: no field of Desired may be forgotten where two are
// compared.
func TestEveryFieldOfDesiredCounts(t *testing.T) {
	base := func() ipvs.Desired {
		k := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: vip}
		w := DesiredSettings(&config.Config{}, start)
		w.Table[k] = ipvs.Service{Key: k}
		return w
	}
	if !SameDesired(base(), base()) {
		t.Fatal("equal wishes differ")
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[ipvs.Desired]()) {
		w := base()
		change(t, reflect.ValueOf(&w).Elem().FieldByIndex(f.Index))
		if SameDesired(base(), w) {
			t.Errorf("a changed %s is not seen", f.Name)
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[ipvs.Service]()) {
		w := base()
		for k, s := range w.Table {
			change(t, reflect.ValueOf(&s).Elem().FieldByIndex(f.Index))
			w.Table[k] = s
		}
		if SameDesired(base(), w) {
			t.Errorf("a changed %s of a service is not seen", f.Name)
		}
	}
}

// change gives a value another one.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint32, reflect.Uint16:
		v.SetUint(v.Uint() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		change(t, v.Field(0))
	default:
		t.Fatalf("how is a %s changed?", v.Type())
	}
}
