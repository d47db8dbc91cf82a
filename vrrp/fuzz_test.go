package vrrp

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzTrackedFile: a file holds one whole number, or counts as 0 with a reason.
func FuzzTrackedFile(f *testing.F) {
	for _, text := range []string{"7\n", " -253 ", "", "1 2", "0x10", strings.Repeat("1", maxFileLen+1), "\x00", "9999999999999999999"} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "number")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		number, err := readNumber(path)
		if err != nil {
			if number != 0 {
				t.Errorf("%q: %d with the error %v", text, number, err)
			}
			return
		}
		if want, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || number != want || len(text) > maxFileLen {
			t.Errorf("%q: %d, want %d, %v", text, number, want, err)
		}
	})
}

// FuzzMachine: whatever arrives in whatever order, the state is one of the four, only a
// director that is master, or was until this step, sends an advert that claims the
// addresses, and a deadline that was served is in the past.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("00,08XXx0")) // a master that loses sends once more
	f.Add([]byte{1, 0, 2, 0, 0, 9, 4, 50, 0, 9, 4, 200, 10, 0, 7, 0, 0, 9, 12, 0, 0, 9, 13, 0})
	f.Add([]byte{1, 1, 2, 0, 0, 200, 0, 200, 7, 0, 3, 0, 2, 0, 0, 200, 8, 0, 9, 3, 0, 9, 11, 1, 6, 1, 6, 1, 6, 1, 7, 1, 0, 90, 5, 0, 13, 0, 0, 200})
	f.Fuzz(func(t *testing.T, script []byte) {
		now := time.Unix(1_000_000, 0)
		m := newMachine(config(), now)
		started := false
		step := func(in input) {
			before, reported := m.state, m.state
			for _, a := range m.Step(now, in) {
				switch {
				case a.kind == didChangeState:
					reported = a.to
				case a.kind == doSend && a.priority != 0 && m.state != Master && before != Master:
					t.Fatalf("%v sends an advert of priority %d", m.state, a.priority)
				}
			}
			if reported != m.state {
				t.Fatalf("reported %v, is %v", reported, m.state)
			}
			switch m.state {
			case Init, Backup, Master, Fault:
			default:
				t.Fatalf("state %q", m.state)
			}
		}
		for len(script) >= 2 {
			op, arg := script[0], script[1]
			script = script[2:]
			if !started {
				op, started = 1, true
			}
			peer := netip.AddrFrom4([4]byte{10, 0, 0, 13 + arg%3})
			every := (time.Duration(arg) + 1) * 10 * time.Millisecond
			switch op % 14 {
			case 0: // time passes, every deadline is served
				until := now.Add(time.Duration(arg) * 50 * time.Millisecond)
				for {
					due := m.Deadline()
					if due.IsZero() || due.After(until) {
						break
					}
					if due.After(now) {
						now = due
					}
					step(input{kind: inTick})
					if next := m.Deadline(); !next.IsZero() && !next.After(now) {
						t.Fatalf("%v: the deadline at %v is served and not over", m.state, next)
					}
				}
				now = until
			case 1:
				var left []netip.Prefix
				if arg%2 == 1 {
					left = []netip.Prefix{vip}
				}
				if m.state == Init && !m.stopped {
					step(input{kind: inStart, prefixes: left})
				}
			case 2:
				step(input{kind: inReady, from: lb1})
			case 3:
				step(input{kind: inUnready, reason: ReasonLinkDown, detail: "fuzz"})
			case 4:
				step(input{kind: inAdvert, from: peer, priority: arg, interval: every, addresses: []netip.Addr{vip.Addr()}})
			case 5:
				step(input{kind: inDropped, from: peer, drop: DropClock, detail: "fuzz"})
			case 6:
				step(input{kind: inSent, detail: []string{"", "no buffer space"}[arg%2]})
			case 7:
				step(input{kind: inAddresses, prefixes: m.want, addrSeq: m.addrSeq, detail: []string{"", "refused"}[arg%2]})
			case 8:
				step(input{kind: inAddresses, prefixes: []netip.Prefix{vip}, addrSeq: uint64(arg), restored: arg%2 == 1})
			case 9:
				step(input{kind: inMoved})
			case 10:
				step(input{kind: inUpdate, config: config(priority(max(arg, 1)), interval(every), func(c *Config) {
					c.Preempt, c.Standby = arg%2 == 0, arg%3 == 0
					c.HandoverLimit = time.Duration(arg%4) * time.Second
				})})
			case 11:
				step(input{kind: inTrack, delta: int(arg) - 128, detail: []string{"", "script failed"}[arg%2]})
			case 12:
				step(input{kind: inHandOver})
			case 13:
				step(input{kind: inStop})
			}
		}
	})
}
