// Reference-counted sysctl overrides for each interface; the last user restores
// the old value. A stricter value stays.

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

// setting is the name of a file below net/ipv4/conf/INTERFACE.
type setting string

const (
	// arpIgnore: 1 answers only for addresses on the receiving interface.
	arpIgnore setting = "arp_ignore"
	// arpAnnounce: 2 does not use an address of another interface as ARP sender.
	arpAnnounce setting = "arp_announce"
)

// settingKey is a setting of one interface, by index: the settings of an
// interface survive a rename.
type settingKey struct {
	namespace string
	index     int
	setting   setting
}

// overridden is a setting with a changed value.
type overridden struct {
	was   int
	users map[overrideUser]bool
}

// overrideUser is a port and its purpose.
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

// override raises a setting of the interface to at least value, until restore.
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

// restore ends the port's overrides for a purpose. The interface may no longer
// exist.
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

// adoptSettings takes over the original values that a killed run had saved. Known
// values take precedence.
func (p *Port) adoptSettings(index int, was map[setting]int) {
	overrides.Lock()
	defer overrides.Unlock()
	for s, v := range was {
		if at := (settingKey{p.namespace, index, s}); overrides.of[at] == nil {
			overrides.of[at] = &overridden{was: v}
		}
	}
}

// originalSettings returns the values without our overrides.
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

// encodeSettings returns the settings as text for decodeSettings.
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
