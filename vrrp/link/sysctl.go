// This file changes settings of an interface for as long as somebody needs them
// changed, and gives them back as they were. It never decides which, and what is
// stricter already stays as it is.

package link

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A setting is one of an interface's below net/ipv4/conf, by its name there.
type setting string

const (
	// arpIgnore 1 answers only for addresses that are on the interface itself.
	arpIgnore setting = "arp_ignore"
	// arpAnnounce 2 never names an address of another interface as the sender of
	// a question.
	arpAnnounce setting = "arp_announce"
)

// settingKey is a setting of one interface. The index, because an interface keeps its
// settings when it is renamed.
type settingKey struct {
	namespace string
	index     int
	setting   setting
}

// A loan is a setting that is not as it was.
type overridden struct {
	was   int
	users map[overrideUser]bool
}

// overrideUser is a port, and what it needs the setting for.
type overrideUser struct {
	port *Port
	what string
}

var overrides = struct {
	sync.Mutex
	of map[settingKey]*overridden
}{of: map[settingKey]*overridden{}}

func settingPath(name string, s setting) string {
	return "/proc/sys/net/ipv4/conf/" + name + "/" + string(s)
}

// override raises a setting of the interface to at least value, until repay.
func (p *Port) override(what, name string, index int, s setting, value int) error {
	overrides.Lock()
	defer overrides.Unlock()
	at := settingKey{p.namespace, index, s}
	l := overrides.of[at]
	if l == nil || len(l.users) == 0 {
		is, err := readSetting(name, s)
		if err == nil && is < value {
			err = os.WriteFile(settingPath(name, s), []byte(strconv.Itoa(value)), 0)
		}
		if err != nil {
			return fmt.Errorf("failed to set %s of %s to %d: %w", s, name, value, err)
		}
		if l == nil {
			l = &overridden{was: is}
			overrides.of[at] = l
		}
		l.users = map[overrideUser]bool{}
	}
	l.users[overrideUser{p, what}] = true
	return nil
}

// restore gives back what the port borrowed for something; the last one sets it as
// it was. The interface may be gone.
func (p *Port) restore(what string) {
	overrides.Lock()
	defer overrides.Unlock()
	for at, l := range overrides.of {
		if !l.users[overrideUser{p, what}] {
			continue
		}
		delete(l.users, overrideUser{p, what})
		if len(l.users) > 0 {
			continue
		}
		if on, err := p.cache.linkByIndex(at.index); err == nil {
			_ = os.WriteFile(settingPath(on.Attrs().Name, at.setting), []byte(strconv.Itoa(l.was)), 0)
		}
		delete(overrides.of, at)
	}
}

// adoptSettings takes what a killed run noted as the settings before it changed them.
// What is known better stays.
func (p *Port) adoptSettings(index int, was map[setting]int) {
	overrides.Lock()
	defer overrides.Unlock()
	for s, v := range was {
		if at := (settingKey{p.namespace, index, s}); overrides.of[at] == nil {
			overrides.of[at] = &overridden{was: v}
		}
	}
}

// originalSettings is what the settings are without us.
func (p *Port) originalSettings(name string, index int, settings ...setting) (map[setting]int, error) {
	overrides.Lock()
	defer overrides.Unlock()
	was := map[setting]int{}
	for _, s := range settings {
		if l := overrides.of[settingKey{p.namespace, index, s}]; l != nil {
			was[s] = l.was
			continue
		}
		v, err := readSetting(name, s)
		if err != nil {
			return nil, err
		}
		was[s] = v
	}
	return was, nil
}

func readSetting(name string, s setting) (int, error) {
	b, err := os.ReadFile(settingPath(name, s))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// encodeSettings writes the settings such that noted reads them.
func encodeSettings(was map[setting]int) string {
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(was)) {
		parts = append(parts, fmt.Sprintf("%s=%d", s, was[s]))
	}
	return strings.Join(parts, " ")
}

func decodeSettings(text string) map[setting]int {
	was := map[setting]int{}
	for _, part := range strings.Fields(text) {
		name, value, _ := strings.Cut(part, "=")
		v, err := strconv.Atoi(value)
		if s := setting(name); err == nil && (s == arpIgnore || s == arpAnnounce) {
			was[s] = v
		}
	}
	return was
}
