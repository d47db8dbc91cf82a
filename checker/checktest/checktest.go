package checktest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"lvsd/checker/outcome"
	"lvsd/integration/lab"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is a deadline that no test reaches; hurry is one that tests of slow
// servers wait for.
const (
	Patience = 20 * time.Second
	Hurry    = 400 * time.Millisecond
)

// Serve listens on the loopback address and lets serve speak to each caller.
func Serve(t testing.TB, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ServeOn(t, l, serve)
}

func ServeOn(t testing.TB, l net.Listener, serve func(net.Conn)) netip.AddrPort {
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	ended := sync.NewCond(&mu) // a connection left open
	to := l.Addr().(*net.TCPAddr).AddrPort()
	// Not a WaitGroup: a connection may be accepted while another goroutine waits.
	IdleServers.Store(to, func() {
		mu.Lock()
		defer mu.Unlock()
		for len(open) > 0 {
			ended.Wait()
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				serve(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				ended.Broadcast()
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return to
}

// IdleServers holds, for the address of each server, a function that waits until it has
// ended what it accepted.
var IdleServers sync.Map

// Answering reads a request and answers it.
func Answering(answer string) func(net.Conn) {
	return func(c net.Conn) {
		ReadRequest(c)
		io.WriteString(c, answer)
	}
}

func ReadRequest(c net.Conn) string {
	var got []byte
	b := make([]byte, 1024)
	for !bytes.Contains(got, []byte("\r\n\r\n")) {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	return string(got)
}

func Want(t *testing.T, got outcome.Outcome, reason outcome.Reason, phase, detail string) {
	t.Helper()
	if got.Reason != reason || got.Phase != phase || !strings.Contains(got.Detail, detail) {
		t.Errorf("got %v in %s: %s\nwant %v in %s: …%s…", got.Reason, got.Phase, got.Detail, reason, phase, detail)
	}
	if len(got.Detail) > outcome.MaxDetail {
		t.Errorf("the detail has %d bytes", len(got.Detail))
	}
	for _, b := range []byte(got.Detail) {
		if b < ' ' || b > '~' {
			t.Errorf("the detail %q is not printable ASCII", got.Detail)
			break
		}
	}
}

// Refusing is an address without a listener.
func Refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Blackhole is an address that answers no SYN: a listener that never accepts and
// whose queue is full.
func Blackhole(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 4 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return to
}

// Descriptors counts this process's descriptors.
func Descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// ServeUDP replies to each datagram with those that serve returns.
func ServeUDP(t testing.TB, serve func([]byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for b := make([]byte, 2048); ; {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			for _, answer := range serve(bytes.Clone(b[:n])) {
				c.WriteToUDPAddrPort(answer, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Authority signs certificates for tests.
type Authority struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
	Pool *x509.CertPool
}

func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, model, model, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{key: key, Pool: x509.NewCertPool()}
	if a.Cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.Cert)
	return a
}

func (a *Authority) Issue(t *testing.T, from, to time.Duration, names ...string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			model.IPAddresses = append(model.IPAddresses, ip)
		} else {
			model.DNSNames = append(model.DNSNames, name)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, model, a.Cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
}

// ServeTLS serves in TLS.
func ServeTLS(t *testing.T, settings *tls.Config, serve func(net.Conn)) netip.AddrPort {
	return Serve(t, func(c net.Conn) {
		s := tls.Server(c, settings)
		if s.Handshake() == nil {
			serve(s)
			s.Close()
		}
	})
}

// StartServer runs a server in the foreground until the test ends, and waits until
// it accepts connections.
func StartServer(t *testing.T, at netip.AddrPort, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	lab.Require(t, err) // make deps installs it
	var said bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for limit := time.Now().Add(Patience); ; {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, said.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not listen", program)
		}
	}
}

// FreeAddress is an address without a listener.
func FreeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Eventually polls, since nothing signals the end of a probe.
func Eventually(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !reached(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// CPUTime is the processor time of this process.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ReportCPU adds processor time: on a busy machine the clock says little.
func ReportCPU(b *testing.B) func() {
	start := CPUTime()
	return func() { b.ReportMetric(float64(CPUTime()-start)/float64(b.N), "cpu-ns/op") }
}
