// The alerts as an operator receives them: a real Prometheus and Alertmanager monitor a
// real pair, the tests cause faults, and exactly the expected alerts arrive at a webhook.
// The time that each takes is logged, but not checked.

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

// monitoredPair is a pair with everything that has alerts, and its monitoring.
type monitoredPair struct {
	*lvsdtest.Pair
	*monitoring
	servers     []*lab.Server
	certificate atomic.Pointer[tls.Certificate]
	text        string // the configuration without a fault
}

// newMonitoredPair starts a pair and its monitoring.
func newMonitoredPair(t *testing.T) *monitoredPair {
	p := lvsdtest.NewPair(t, 3)
	p.AdvertInterval = "500ms"
	p.VRRPKeys = "sync_hold = \"0s\"\n"
	p.PrepareDR()
	w := &monitoredPair{Pair: p, monitoring: newMonitoring(p)}
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
	text := strings.Replace(p.Config(), "[global]\n", w.listenKeys(), 1)
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

// serveTLS serves HTTPS with the current certificate.
func (w *monitoredPair) serveTLS(h *lab.Host) {
	w.renewCertificate(60 * 24 * time.Hour)
	listener, err := h.Listen("tcp", ":443")
	if err != nil {
		w.T.Fatal(err)
	}
	server := lab.ServeTLS(listener, func() *tls.Certificate { return w.certificate.Load() })
	w.T.Cleanup(server)
}

// renewCertificate gives the server a certificate that is valid for this time.
func (w *monitoredPair) renewCertificate(lasts time.Duration) {
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

// reload writes the configuration and reloads these directors.
func (w *monitoredPair) reload(text string, directors ...*lvsdtest.Director) {
	w.T.Helper()
	w.WriteFile("lvsd.toml", text)
	for _, d := range directors {
		d.MustReload()
	}
}

// fault is a fault that a test causes.
type fault struct {
	name   string
	cause  func()
	want   []string // alerts, and no others
	allow  []string // alerts that may arrive, too
	repair func()
	last   bool // its end is not waited for
	// on is the director on which the runbook's commands are run, confirm what they
	// must print.
	on      *lvsdtest.Director
	confirm map[string]string // by alert
}

// inject causes a fault, waits for the alerts, runs the commands of the runbook for each,
// and ends the fault. Any other alert is an error.
func (w *monitoredPair) inject(t *testing.T, f fault) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.FailNow() // the following faults would start from an unknown state
		}
	}()
	w.reset()
	begun := time.Now()
	f.cause()
	w.waitAlerts(90*time.Second, f.want...)
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
			t.Errorf("the runbook's commands for %s do not print %q:\n%s", alert, says, out.String())
		}
	}
	if f.repair != nil {
		f.repair()
	}
	if !f.last {
		w.waitResolved()
	}
	for _, name := range withoutLate(w.received()) {
		if !slices.Contains(f.want, name) && !slices.Contains(f.allow, name) {
			t.Errorf("%s: unexpected alert %s", f.name, name)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%s: (%.0f s)", f.name, time.Since(begun).Seconds())
	for _, name := range f.want {
		t.Logf("  %-8s %-45s %.0f s after the fault", w.arrived[name].Labels["severity"], name, w.at[name].Sub(begun).Seconds())
		if a := w.arrived[name].Annotations; a["summary"] == "" || strings.Contains(a["summary"]+a["description"], "error ") || strings.Contains(a["description"], "<no value>") {
			t.Errorf("annotations of %s: %q", name, a)
		}
	}
}

// packetFilter drops incoming packets that match an iptables rule.
func packetFilter(h *lab.Host, rule string) (undo func()) {
	h.IPTables("-I INPUT " + rule)
	return func() { h.IPTables("-D INPUT " + rule) }
}

// sendForeignAdverts sends advertisements of another router with the VRID of the pair,
// until stop is called.
func (w *monitoredPair) sendForeignAdverts(priority byte) (stop func()) {
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

// advert returns a VRRPv3 advertisement for the VIP (RFC 9568 §5.1) with an interval of
// 500 ms and a checksum without the pseudo-header.
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

// openConnections keeps n connections open and opens a new one twice a second, until stop
// is called.
func (w *monitoredPair) openConnections(n int) (stop func()) {
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
