// The alerts as whoever is on call gets them: a real Prometheus and a real
// Alertmanager watch a real pair, faults are caused, and the right alert arrives at a
// webhook, and no other. How long each takes is printed, and not judged.

package oncall_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	wire "encoding/binary"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// watched is a pair with all that has alerts, and who watches it.
type watched struct {
	*lvsdtest.Pair
	*watcher
	servers     []*lab.Server
	certificate atomic.Pointer[tls.Certificate]
	text        string // of the file, as it is good
}

func newWatched(t *testing.T) *watched {
	p := lvsdtest.NewPair(t, 3)
	p.AdvertInterval = "500ms"
	p.VRRPKeys = "sync_hold = \"0s\"\n"
	p.PrepareDR()
	w := &watched{Pair: p, watcher: newWatcher(p)}
	sync := p.LAN("sync", "10.98.0.0/24")
	for i, d := range p.LB {
		d.Plug(sync, fmt.Sprintf("10.98.0.%d/24", 11+i)) // eth2
	}
	for _, r := range p.Real {
		w.servers = append(w.servers, lab.ServeLines(r, ":80", r.Name))
	}
	w.serveTLS(p.Real[2])
	check := `{ type = "connect", interval = "400ms", timeout = "2s", rise = 1, fall = 2 }`
	p.Services = p.WebService(check, 1, 1, 1) + fmt.Sprintf(`
[[virtual_service]]
name = "secure"
address = "%s:443"
check = { type = "https", interval = "500ms", timeout = "2s", rise = 1, fall = 2, verify = false }
real_servers = [{ address = "%s:443" }]
`, lvsdtest.VIP, p.Real[2].Addr())
	text := strings.Replace(p.Config(), "[global]\n", w.listens(), 1)
	text += p.PeerConfig()
	w.text = text + "[ipvs.sync]\ninterface = \"eth2\"\nid = 51\n"
	p.WriteConfigText(w.text)
	p.StartBoth()
	for _, d := range p.LB {
		d.WaitServing(3)
	}
	w.start("--scale", "0.015", "--drain-limit", "20s")
	return w
}

// serveTLS answers https with whatever certificate there is at the moment.
func (w *watched) serveTLS(h *lab.Host) {
	w.certify(60 * 24 * time.Hour)
	listener, err := h.Listen("tcp", ":443")
	if err != nil {
		w.T.Fatal(err)
	}
	server := lab.ServeTLS(listener, func() *tls.Certificate { return w.certificate.Load() })
	w.T.Cleanup(server)
}

// certify makes the server's certificate end in a while.
func (w *watched) certify(lasts time.Duration) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.T.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "secure"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts)}
	der, err := x509.CreateCertificate(rand.Reader, model, model, key.Public(), key)
	if err != nil {
		w.T.Fatal(err)
	}
	w.certificate.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// take writes a file and reloads these directors with it.
func (w *watched) take(text string, directors ...*lvsdtest.Director) {
	w.T.Helper()
	w.WriteFile("lvsd.toml", text)
	for _, d := range directors {
		d.MustReload()
	}
}

// fault is one thing that goes wrong.
type fault struct {
	name  string
	cause func()
	want  []string // alerts, and no others
	allow []string // that may come besides, if it lasts
	mend  func()
	last  bool // nobody waits for its end
	// confirm is where the runbook's commands are run, and what they must say.
	on      *lvsdtest.Director
	confirm map[string]string // by alert
}

// run causes it, waits for the alerts, sees that no other came, confirms them as the
// runbook says, and mends it.
func (w *watched) run(t *testing.T, f fault) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.FailNow() // in a state that nobody knows the next fault would say nothing
		}
	}()
	w.forget()
	begun := time.Now()
	f.cause()
	w.wait(90*time.Second, f.want...)
	for alert, says := range f.confirm {
		var out strings.Builder
		for _, line := range runbook(t, alert) {
			line = strings.NewReplacer("10.0.0.9:443", w.Real[2].Addr().String()+":443", "10.0.0.9:80", w.Real[2].Addr().String()+":80").Replace(line)
			if strings.Contains(line, ":443") {
				line = strings.Replace(line, " web ", " secure ", 1)
			}
			args := append(strings.Fields(line), "-c", w.ConfigFile, "--director", f.on.Name)
			text, _ := f.on.LVSD(args...) // status of a director with a problem is exit code 1
			out.WriteString(text)
		}
		if !strings.Contains(out.String(), says) {
			t.Errorf("the runbook's commands for %s do not say %q:\n%s", alert, says, out.String())
		}
	}
	if f.mend != nil {
		f.mend()
	}
	if !f.last {
		w.quiet()
	}
	for _, name := range but(w.heard()) {
		if !slices.Contains(f.want, name) && !slices.Contains(f.allow, name) {
			t.Errorf("%s: %s arrived, too", f.name, name)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%s: (%.0f s)", f.name, time.Since(begun).Seconds())
	for _, name := range f.want {
		t.Logf("  %-8s %-45s %.0f s after the fault", w.arrived[name].Labels["severity"], name, w.at[name].Sub(begun).Seconds())
		if a := w.arrived[name].Annotations; a["summary"] == "" || strings.Contains(a["summary"]+a["description"], "error ") || strings.Contains(a["description"], "<no value>") {
			t.Errorf("%s says %q", name, a)
		}
	}
}

// packetFilter drops what comes in and is of a kind.
func packetFilter(h *lab.Host, rule string) (undo func()) {
	h.MustRun(append([]string{"iptables-legacy", "-I", "INPUT"}, strings.Fields(rule)...)...)
	return func() { h.MustRun(append([]string{"iptables-legacy", "-D", "INPUT"}, strings.Fields(rule)...)...) }
}

// forge sends the adverts of a stranger with the pair's virtual router, until the
// answer is called.
func (w *watched) forge(priority byte) (stop func()) {
	conn, err := w.Client.ListenPacket("ip4:112", w.Client.Addr().String())
	if err != nil {
		w.T.Fatal(err)
	}
	raw := ipv4.NewPacketConn(conn)
	if err := raw.SetMulticastTTL(255); err != nil {
		w.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close()
		for every := time.NewTicker(500 * time.Millisecond); ; {
			_, _ = conn.WriteTo(advert(priority), &net.IPAddr{IP: net.IPv4(224, 0, 0, 18)})
			select {
			case <-ctx.Done():
				every.Stop()
				return
			case <-every.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// advert is one of version 3 for the pair's address (RFC 9568 §5.1), every 500 ms,
// whose sum leaves the pseudo-header out.
func advert(priority byte) []byte {
	b := []byte{3<<4 | 1, 51, priority, 1, 0, 50, 0, 0, 10, 77, 0, 100}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(wire.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	wire.BigEndian.PutUint16(b[6:], ^uint16(sum))
	return b
}

// clients hold connections open, and make a new one twice a second.
func (w *watched) clients(n int) (stop func()) {
	var open []net.Conn
	dial := func() net.Conn {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn, err := w.Client.Dial(ctx, "tcp", lvsdtest.VIPPort)
		if err != nil {
			return nil
		}
		_, _ = conn.Write([]byte("hello\n"))
		return conn
	}
	for range n {
		if c := dial(); c != nil {
			open = append(open, c)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for every := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				every.Stop()
				return
			case <-every.C:
				if c := dial(); c != nil {
					c.Close()
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
		for _, c := range open {
			c.Close()
		}
	}
}
