package vrrp

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const conformance = "../docs/conformance.md"

// TestConformanceNamesTestsThatExist compares the table with the tests: each row has a
// section, a level and tests, all of which exist.
func TestConformanceNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(conformance)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\)`)
	for _, pattern := range []string{"*_test.go", "auth/*_test.go", "link/*_test.go", "wire/*_test.go", "../config/*_test.go", "../integration/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(source, -1) {
				there[string(m[1])] = true
			}
		}
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9_]+`).FindAllString(string(text), -1) {
		if !there[name] {
			t.Errorf("no test is called %s", name)
		}
	}
	requirements, deviations, deviating := 0, 0, false
	for line := range strings.Lines(string(text)) {
		deviating = deviating || strings.HasPrefix(line, "## What we do otherwise")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Section") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, c := range cells {
			if cells[i] = strings.TrimSpace(c); cells[i] == "" {
				t.Errorf("an empty cell: %s", line)
			}
		}
		switch {
		case len(cells) != 4:
			t.Errorf("%d cells: %s", len(cells), line)
		case deviating:
			deviations++
		default:
			requirements++
			if !regexp.MustCompile(`^(MUST|MUST NOT|SHOULD|—)$`).MatchString(cells[1]) || !strings.HasPrefix(cells[3], "Test") {
				t.Errorf("%s", line)
			}
		}
	}
	if requirements < 35 || deviations < 5 {
		t.Errorf("%d requirements, %d deviations", requirements, deviations)
	}
}

// RFC 9568 §5.2.9.
func TestRFCFirstAddressIsLinkLocal(t *testing.T) {
	for _, tt := range []struct {
		addresses []netip.Prefix
		version   uint8
		says      string // empty: fine
	}{
		{[]netip.Prefix{vip6, vip6b}, 3, ""},
		{[]netip.Prefix{vip6b, vip6}, 3, "link-local"},
		{[]netip.Prefix{vip6, vip}, 3, "another family"},
		{[]netip.Prefix{vip6}, 2, "not support IPv6"},
	} {
		err := config(func(c *Config) { c.Addresses, c.Version = tt.addresses, tt.version }).check()
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v", tt.addresses, err)
		}
	}
	if err := config(func(c *Config) { c.Addresses, c.AnyIPv6 = []netip.Prefix{vip6b}, true }).check(); err != nil {
		t.Errorf("link_local_first = false: %v", err)
	}
}

// RFC 9568 §6.4.3: the comparison is unsigned, so 200.0.0.1 is greater than
// 10.0.0.12, and fe80::ff… greater than fe80::1.
func TestRFCTieIsUnsigned(t *testing.T) {
	for _, tt := range []struct {
		other string
		want  State
	}{{"200.0.0.1", Backup}, {"10.0.0.128", Backup}, {"10.0.0.13", Backup}, {"10.0.0.11", Master}, {"9.255.255.255", Master}} {
		b := master(t)
		b.advert(netip.MustParseAddr(tt.other), 100)
		if b.m.state != tt.want {
			t.Errorf("the same priority from %s: %v, want %v", tt.other, b.m.state, tt.want)
		}
	}
}

// RFC 3768 §6.1 and §6.4.2: in version 2 the skew does not depend on the
// interval, and the master's interval is not learnt.
func TestRFC3768Timers(t *testing.T) {
	b := backup(t, func(c *Config) { c.Version, c.AdvertInterval = 2, 3*time.Second })
	b.deadline(b.m.Deadline(), 9*time.Second+156*time.Second/256)
	b.want(b.advert(lb2, 200, 3*time.Second))
	b.deadline(b.m.Deadline(), 9*time.Second+156*time.Second/256)
	b.want(b.advert(lb2, 0, 3*time.Second))
	b.deadline(b.m.Deadline(), 156*time.Second/256)
}
