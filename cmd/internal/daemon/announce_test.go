package daemon

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/api"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// routingTables are a kernel's routing tables in memory.
type routingTables struct {
	mu   sync.Mutex
	ours map[announce.Route]bool
	log  []string
}

func (k *routingTables) Read([]int) (r announce.Reading, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for o := range k.ours {
		r.Ours = append(r.Ours, o)
	}
	return r, nil
}

func (k *routingTables) set(verb string, r announce.Route, there bool, errno error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ours[r] == there {
		return errno
	}
	k.log = append(k.log, verb+" "+r.String())
	if delete(k.ours, r); there {
		k.ours[r] = true
	}
	return nil
}

func (k *routingTables) Add(r announce.Route) error { return k.set("add", r, true, syscall.EEXIST) }
func (k *routingTables) Delete(r announce.Route) error {
	return k.set("delete", r, false, syscall.ESRCH)
}
func (k *routingTables) Addresses() (map[netip.Addr]string, error) { return nil, nil }
func (k *routingTables) Watch(func(int)) (func(), error)           { return func() {}, nil }
func (k *routingTables) Close()                                    {}

// changes are all so far.
func (k *routingTables) changes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.log)
}

// has reports whether the address is announced.
func (k *routingTables) has(address string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for r := range k.ours {
		if r.Table == 112 && r.Prefix.Addr().String() == address {
			return true
		}
	}
	return false
}

// await polls a condition until it holds, of a daemon that runs in real time.
func await(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, limit)
		}
	}
}

// TestAnnounceServeStop: an address is announced once its server is up, withdrawn by a lost
// quorum, a handover and a stop, and left announced by nothing else.
func TestAnnounceServeStop(t *testing.T) {
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := real.Addr().String()
	serve := func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}
	go serve(real)
	folder, kernel, routes := t.TempDir(), ipvstest.New(), &routingTables{ours: map[announce.Route]bool{}}
	d, err := New(Options{
		Source: write(t, folder, address, "[[announce]]\nname = \"any\"\naddresses = [\"10.0.0.88\"]\nhold_start = \"0s\"\nwithdraw_wait = \"0s\"\n"), Strict: true, Stderr: io.Discard,
		OpenKernel: func() (ipvs.Kernel, error) { return kernel, nil },
		OpenRoutes: func() (announce.Kernel, error) { return routes, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	client := api.NewClient(filepath.Join(folder, "control.sock"))
	announced := func() bool { return routes.has("10.0.0.88") }
	await(t, 10*time.Second, "announcement", announced)
	s, err := client.Status(ctx)
	if err != nil || len(s.Announces) != 1 || !s.Announces[0].Serving || s.Announces[0].Reason != "serving" || s.Announces[0].Metric != 100 {
		t.Errorf("%+v, %v", s.Announces, err)
	}
	await(t, 10*time.Second, "route in the status", func() bool {
		s, err := client.Status(ctx)
		return err == nil && len(s.Announces) == 1 && s.Announces[0].Addresses[0].Routed && s.Announces[0].Addresses[0].Accepted
	})
	if log := routes.changes(); !strings.HasPrefix(log[0], "add local") {
		t.Errorf("announced before it is accepted: %q", log)
	}

	real.Close()
	await(t, 10*time.Second, "withdrawal by the lost quorum", func() bool { return !announced() })
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	go serve(again)
	await(t, 10*time.Second, "announcement again", announced)

	if h, err := client.HandOver(ctx, "other", 0, false); err != nil || h.OK || len(h.Refused) != 1 || !strings.HasSuffix(h.Refused[0], `"other"; there are: any`) {
		t.Errorf("a handover of another: %+v, %v", h, err)
	}
	if h, err := client.HandOver(ctx, "any", 0, false); err != nil || h.OK || len(h.Refused) == 0 {
		t.Errorf("a handover without an exchange: %+v, %v", h, err)
	}
	h, err := client.HandOver(ctx, "any", 0, true)
	if err != nil || !h.OK || len(h.Instances) != 1 || h.Instances[0].Announce != "any" || !h.Instances[0].WasMaster || announced() {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := client.EndHandover(ctx, ""); err != nil || !h.OK || !slices.Equal(h.Ended, []string{"any"}) {
		t.Errorf("%+v, %v", h, err)
	}
	await(t, 10*time.Second, "announcement after the handover", announced)

	// Under another name it stays announced: hold_start is for directors that start.
	before := len(routes.changes())
	write(t, folder, address, "[[announce]]\nname = \"renamed\"\naddresses = [\"10.0.0.88\"]\nhold_start = \"1h\"\nwithdraw_wait = \"0s\"\n")
	if r, err := client.Reload(ctx); err != nil || !r.OK {
		t.Errorf("%+v, %v", r, err)
	}
	await(t, 10*time.Second, "announcement under another name", func() bool {
		s, err := client.Status(ctx)
		return err == nil && s.Announces[0].Name == "renamed" && s.Announces[0].Serving
	})
	if log := routes.changes(); len(log) != before {
		t.Errorf("another name changes routes: %q", log[before:])
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(routes.ours) != 0 {
		t.Errorf("left: %v", routes.ours)
	}
	log := routes.changes()
	if last := log[len(log)-2:]; !strings.HasPrefix(last[0], "delete 10.0.0.88/32") || !strings.HasPrefix(last[1], "delete local") {
		t.Errorf("%q", last)
	}
	withdrawn := map[string]bool{}
	for _, e := range d.events.Recent() {
		if e.Kind == "announce" {
			withdrawn[e.To] = true
			withdrawn[e.Announce+" "+e.To] = true
		}
	}
	for _, to := range []string{"starting", "announced", "withdrawn", "standby", "any removed", "renamed announced", "renamed stopped"} {
		if !withdrawn[to] {
			t.Errorf("no event to %s: %v", to, withdrawn)
		}
	}
}
