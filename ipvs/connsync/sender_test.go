package connsync

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/ipvs"
)

func line(t *testing.T, text string) ipvs.Connection {
	t.Helper()
	var c ipvs.Connection
	if _, err := ipvs.ScanConnections(t.Context(), strings.NewReader("heading\n"+text+"\n"), 1, func(found ipvs.Connection) bool { c = found; return true }); err != nil || c.Protocol == "" {
		t.Fatalf("%q: %v", text, err)
	}
	return c
}

const (
	established = "TCP 0A000002 C350 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL      899"
	half        = "TCP 0A000002 C351 0A000058 0050 0A000009 0050 SYN_RECV    LOCAL       59"
	datagram    = "UDP 0A000002 C352 0A000058 0035 0A000009 0035 UDP         SYNC       299"
	template    = "TCP 0A000002 0000 0A000058 0050 0A000009 0050 NONE        LOCAL      120"
	assured     = "TCP 0A000002 0000 0A000058 0051 0A000009 0051 ASSURED     LOCAL      120"
	six         = "TCP [2001:db8::2] C350 [2001:db8::58] 0050 [2001:db8::9] 0050 ESTABLISHED LOCAL 899"
)

// Octet by octet what the kernel's ip_vs_sync_conn writes: the flags and states are
// those of a Linux 6.1, to which TestUnsyncedConnectionsOfEveryKind compares each kind.
func TestSyncMessage(t *testing.T) {
	m := message{id: 51, maxLen: 1472}
	for _, c := range []struct {
		text string
		way  ipvs.Forward
	}{{established, ipvs.DirectRoute}, {half, ipvs.Tunnel}, {datagram, ipvs.NAT}, {template, ipvs.DirectRoute}, {assured, ipvs.DirectRoute}, {six, ipvs.DirectRoute}} {
		e, ok := newEntry(line(t, c.text), c.way)
		if !ok || !m.add(e) {
			t.Fatalf("%s is not sent", c.text)
		}
	}
	want := "00 33 0104 06 01 0000" +
		"00 06 0024 00000083 0001 c350 0050 0050 00000000 00000000 0a000002 0a000058 0a000009" +
		"00 06 0024 00000182 0003 c351 0050 0050 00000000 00000000 0a000002 0a000058 0a000009" +
		"00 11 0024 00000100 0000 c352 0035 0035 00000000 00000000 0a000002 0a000058 0a000009" +
		"00 06 0024 00001183 0000 0000 0050 0050 00000000 00000078 0a000002 0a000058 0a000009" +
		"00 06 0024 00001183 0001 0000 0051 0051 00000000 00000078 0a000002 0a000058 0a000009" +
		"01 06 0048 00000083 0001 c350 0050 0050 00000000 00000000" +
		"20010db8000000000000000000000002 20010db8000000000000000000000058 20010db8000000000000000000000009"
	if got := hex.EncodeToString(m.flush()); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, strings.ReplaceAll(want, " ", ""))
	}
	if m.flush() != nil {
		t.Error("an empty message")
	}
}

func TestNotSendable(t *testing.T) {
	for _, text := range []string{
		"SCTP 0A000002 C350 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL 899",
		"IP 0A000002 0000 00000007 0000 0A000009 0000 NONE LOCAL 120",
		"TCP 0A000002 C350 0A000058 0050 [2001:db8::9] 0050 ESTABLISHED LOCAL 899",
		"TCP 0A000002 C350 0A000058 0050 0A000009 0050 LISTEN LOCAL 899",
	} {
		if _, ok := newEntry(line(t, text), ipvs.DirectRoute); ok {
			t.Errorf("%s is sent", text)
		}
	}
}

// pipe collects what is sent.
type pipe struct {
	messages [][]byte
	err      error
}

func (p *pipe) Write(b []byte) (int, error) {
	p.messages = append(p.messages, bytes.Clone(b))
	return len(b), p.err
}
func (p *pipe) Close() error { return nil }

func (p *pipe) entries() (n int) {
	for _, m := range p.messages {
		n += int(m[4])
	}
	p.messages = nil
	return n
}

func TestSendSendsOnce(t *testing.T) {
	text, p := "", &pipe{}
	sender := newSender(
		func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("heading\n" + text)), nil },
		func(ipvs.SyncConfig) (io.WriteCloser, error) { return p, nil })
	send := func(all bool, want int) {
		t.Helper()
		n, err := sender.Send(t.Context(), ipvs.SyncConfig{ID: 51, MaxLen: 512}, all, func(c ipvs.Connection) (ipvs.Forward, bool) {
			return ipvs.DirectRoute, c.Virtual.Port() != 25
		})
		if got := p.entries(); err != nil || n != want || got != want {
			t.Errorf("read %d, sent %d, want %d: %v", n, got, want, err)
		}
	}
	for i := range 300 {
		text += fmt.Sprintf("TCP 0A000002 %04X 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL 899\n", 1000+i)
	}
	text += "TCP 0A000002 C350 0A000058 0019 0A000009 0019 ESTABLISHED LOCAL 899\nnonsense\n"
	send(true, 300)
	send(false, 0)
	text = strings.ReplaceAll(text, " 899\n", " 898\n") // older, and the same
	send(false, 0)
	text = strings.Replace(text, "03E8 0A000058 0050 0A000009 0050 ESTABLISHED", "03E8 0A000058 0050 0A000009 0050 FIN_WAIT", 1) + half + "\n"
	send(false, 2) // another state, and a new one
	send(true, 301)
	p.err = errors.New("no")
	if _, err := sender.Send(t.Context(), ipvs.SyncConfig{ID: 51}, true, func(ipvs.Connection) (ipvs.Forward, bool) { return ipvs.NAT, true }); err == nil {
		t.Error("a failure to send is none")
	}
	p.err = nil
	p.entries()
	send(false, 301) // what did not arrive is sent again
}

// TestSenderForgets requires that what was sent in a handover does not stay in memory.
func TestSenderForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := newSender(
			func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("heading\n" + established + "\n")), nil
			},
			func(ipvs.SyncConfig) (io.WriteCloser, error) { return &pipe{}, nil })
		send := func(want int) {
			t.Helper()
			n, err := sender.Send(t.Context(), ipvs.SyncConfig{ID: 51}, false, func(ipvs.Connection) (ipvs.Forward, bool) { return ipvs.NAT, true })
			if n != want || err != nil {
				t.Errorf("sent %d, want %d: %v", n, want, err)
			}
		}
		send(1)
		time.Sleep(sentMemory - time.Second)
		send(0)
		time.Sleep(time.Second)
		synctest.Wait()
		if sender.sent != nil {
			t.Error("still in memory a minute later")
		}
		send(1)
		sender.drop()
	})
}

// BenchmarkSenderMemory shows what a connection that was sent costs in memory.
func BenchmarkSenderMemory(b *testing.B) {
	s := newSender(nil, nil)
	s.remember()
	defer s.drop()
	var c ipvs.Connection
	b.ReportAllocs()
	for i := range b.N {
		c.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 24), byte(i >> 16), byte(i >> 8)}), uint16(i))
		s.add(c)
	}
}

// Every message keeps to the length that fits.
func TestSyncMessagesFit(t *testing.T) {
	m := message{id: 1, maxLen: 512}
	e, _ := newEntry(line(t, established), ipvs.NAT)
	for range 1000 {
		if !m.add(e) {
			if b := m.flush(); len(b) > 512 || len(b)+syncEntry4 <= 512 || int(b[4])*syncEntry4+syncHeader != len(b) {
				t.Fatalf("%d bytes, %d entries", len(b), b[4])
			}
			if !m.add(e) {
				t.Fatal("no room in an empty message")
			}
		}
	}
	m = message{id: 1, maxLen: 60000}
	n := 0
	for m.add(e) {
		n++
	}
	if n != maxSyncEntries {
		t.Errorf("%d entries", n)
	}
}
