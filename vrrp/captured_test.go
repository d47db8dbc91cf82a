package vrrp

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvsd/vrrp/auth"
)

// captureFlag makes TestKernelCapture write what it receives; `make capture` sets it.
var captureFlag = flag.Bool("capture", false, "write the adverts of keepalived and FRR to testdata/captured")

// captured is a file of testdata/captured: two adverts that another program sent, as a
// master and as it resigned, and their addresses.
type captured struct {
	program, dialect    string
	source, destination netip.Addr
	ttl                 uint8
	master, leaving     []byte
}

const capturedPriority = 170

func capturedFile(program, dialect string) string {
	name := strings.NewReplacer(",", "", " ", "-").Replace(program + " " + dialect)
	return filepath.Join("testdata", "captured", strings.ToLower(name)+".txt")
}

func (c captured) write(t *testing.T, file string) {
	t.Helper()
	text := fmt.Sprintf("program: %s\ndialect: %s\nsource: %s\ndestination: %s\nttl: %d\nmaster: %x\nleaving: %x\n",
		c.program, c.dialect, c.source, c.destination, c.ttl, c.master, c.leaving)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readCaptured(t *testing.T, file string) (c captured) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "program":
			c.program = value
		case "dialect":
			c.dialect = value
		case "source":
			c.source = netip.MustParseAddr(value)
		case "destination":
			c.destination = netip.MustParseAddr(value)
		case "ttl":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			c.ttl = uint8(n)
		case "master":
			c.master = unhex(t, value)
		case "leaving":
			c.leaving = unhex(t, value)
		default:
			t.Fatalf("%s: %q", file, key)
		}
	}
	return c
}

// The adverts of keepalived and FRR are decoded, and equal octet for octet what we
// would have sent in their place.
func TestCapturedAdverts(t *testing.T) {
	files, err := filepath.Glob("testdata/captured/*.txt")
	if err != nil || len(files) != len(dialects)+len(frrDialects) {
		t.Fatalf("%d files, want %d (make capture writes them): %v", len(files), len(dialects)+len(frrDialects), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := readCaptured(t, file)
			i := slices.IndexFunc(dialects, func(d dialect) bool { return d.name == c.dialect })
			if i < 0 {
				t.Fatalf("dialect %q", c.dialect)
			}
			cfg := dialects[i].config(t, lb1, c.source, 100)
			rules := &Rules{VRID: 51, Version: 3, Source: lb1, Peers: cfg.Unicast}
			var password *auth.Password
			if cfg.Version == 2 {
				rules.Version, rules.Interval = 2, time.Second
				if cfg.Authentication.Type == "pass" {
					password = &auth.Password{'o', 'p', 'e', 'n', ' ', 's', 'e', 's'}
					rules.Password = password
				}
			}
			for _, m := range []struct {
				name     string
				message  []byte
				priority uint8
			}{{"master", c.master, capturedPriority}, {"leaving", c.leaving, 0}} {
				var a Advert
				if drop := Decode(Header{c.source, c.destination, c.ttl}, m.message, rules, &a); drop != DropNone {
					t.Errorf("%s: refused: %v", m.name, drop)
					continue
				}
				if a.VRID != 51 || a.Priority != m.priority || a.Interval != cfg.AdvertInterval || a.Checksum == RFC9568 && cfg.Version != 2 {
					t.Errorf("%s: %+v", m.name, a)
				}
				for _, p := range cfg.Addresses {
					if !slices.Contains(a.Addresses, p.Addr()) {
						t.Errorf("%s: %v lacks %v", m.name, a.Addresses, p)
					}
				}
				ours := a.Append(nil, c.source, c.destination)
				if cfg.Version == 2 {
					ours = a.AppendV2(nil, password)
				}
				if !bytes.Equal(ours, m.message) {
					t.Errorf("%s:\n ours %x\ntheirs %x", m.name, ours, m.message)
				}
			}
		})
	}
}

// TestKernelCapture receives each peer in each dialect, as a master and as it resigns;
// with -capture it writes the adverts.
func TestKernelCapture(t *testing.T) {
	needKernel(t, "keepalived", "vtysh", frrPrograms+"vrrpd")
	for _, d := range dialects {
		t.Run("keepalived/"+d.name, func(t *testing.T) {
			s := pair(t)
			file := keepalivedFile(t, d, capturedPriority)
			heard := s.capture("d1")
			k := s.keepalived("d2", file)
			eventually(t, "keepalived is master", func() bool { return s.holds("d2", d.vip()) })
			hear(t, heard, versionOf(t, "keepalived", "--version"), d.name, func() { k.end(syscall.SIGTERM) })
		})
	}
	for _, d := range frrDialects {
		t.Run("frr/"+d.name, func(t *testing.T) {
			s := pair(t)
			f := newFRR(s, "d2", d.mac, d.v6, d.config(t, lb1, lb2, 100).Addresses, d.lines, capturedPriority)
			heard := s.capture("d1")
			f.start()
			eventually(t, "FRR is master", f.master)
			hear(t, heard, "FRR "+versionOf(t, frrPrograms+"vrrpd", "--version"), d.name, f.end)
		})
	}
}

// versionOf is the first line of a program's output about its version.
func versionOf(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := exec.Command(args[0], args[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if line == "" {
		t.Fatalf("%v does not say its version", args)
	}
	return line
}

// hear waits for a master's advert, stops the peer and waits for its last advert.
func hear(t *testing.T, heard *capture, program, dialect string, leave func()) {
	t.Helper()
	c := captured{program: program, dialect: dialect}
	last := func(priority uint8) (found *hearable) {
		for _, h := range heard.vrrp() {
			if len(h.message) > headerLen && h.message[2] == priority {
				found = &h
			}
		}
		return found
	}
	eventually(t, "a master's advert", func() bool { return last(capturedPriority) != nil })
	h := last(capturedPriority)
	c.source, c.destination, c.ttl, c.master = h.source, h.destination, h.ttl, h.message
	leave()
	eventually(t, "the advert of priority 0", func() bool { return last(0) != nil })
	c.leaving = last(0).message
	t.Logf("%s: %x", program, c.master)
	if *captureFlag {
		c.write(t, capturedFile(strings.Fields(program)[0], dialect))
	}
}

// hearable is a VRRP message with the fields of the IP header.
type hearable struct {
	source, destination netip.Addr
	ttl                 uint8
	message             []byte
}

// vrrp returns all VRRP messages of both families.
func (c *capture) vrrp() []hearable {
	var out []hearable
	for _, f := range c.pick(0x0800, func(f frame) bool { return len(f.data) >= 34 && f.data[23] == protocol }) {
		b := f.data[14:]
		size, total := int(b[0]&15)*4, int(b[2])<<8|int(b[3])
		out = append(out, hearable{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[8], b[size:total]})
	}
	for _, f := range c.pick(0x86dd, func(f frame) bool { return len(f.data) >= 54 && f.data[20] == protocol }) {
		b := f.data[14:]
		out = append(out, hearable{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[7], b[40:][:int(b[4])<<8|int(b[5])]})
	}
	return out
}
