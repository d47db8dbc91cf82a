// Up, Down and Status: a wish is met, undone, or looked at.

package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultFolder is where it is remembered what was found. It is empty after a
// boot, as are the settings.
const DefaultFolder = "/run/lvsd"

// kernel reads and writes what needs are about. A value "" stands for what is
// not there.
type kernel interface {
	Read(n need) (string, error)
	Write(n need, value string) error
	// Holders names the devices that have the address.
	Holders(a netip.Addr) ([]string, error)
}

// Host is this host as a real server.
type Host struct {
	folder string
	kernel kernel
	say    func(string) // told of each change
}

// New answers this host. Say is told of each change, as it is made.
func New(folder string, say func(string)) *Host {
	return &Host{folder, system{}, say}
}

// Up meets a wish. It changes nothing that is so already, and may be repeated.
// When something fails it takes back what it did.
func (h *Host) Up(w Wish) error {
	s, err := openStore(h.folder)
	if err != nil {
		return err
	}
	defer s.close()
	m, err := read(s.file)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(m.Wishes, func(o Wish) bool { return o.VIP == w.VIP })
	if i >= 0 && m.Wishes[i] != w {
		return fmt.Errorf("%s is up as %s: take it down first (lvsd realserver down --vip %s)", w.VIP, m.Wishes[i], w.VIP)
	}
	holders, err := h.kernel.Holders(w.VIP)
	if err != nil {
		return err
	}
	for _, device := range holders {
		if device != w.device() {
			return fmt.Errorf("%s stands on %s already, and belongs on %s: take it off there first", w.VIP, device, w.device())
		}
	}
	if i < 0 {
		m.Wishes = append(m.Wishes, w)
		if err := s.save(m); err != nil {
			return err
		}
	}
	for _, n := range w.needs() {
		if err := h.meet(s, &m, n); err != nil {
			if i < 0 {
				err = errors.Join(err, h.down(s, &m, w.VIP))
			}
			return err
		}
	}
	return nil
}

// meet does one thing, and writes down before what it found.
func (h *Host) meet(s *store, m *memory, n need) error {
	have, err := h.kernel.Read(n)
	if err != nil {
		return err
	}
	if n.met(have) {
		return nil
	}
	if at := m.find(n); at >= 0 {
		m.Undo[at].Set = n.Want
	} else {
		m.Undo = append(m.Undo, record{n.Kind, n.Key, have, n.Want})
	}
	if err := s.save(*m); err != nil {
		return err
	}
	if err := h.kernel.Write(n, n.Want); err != nil {
		return err
	}
	h.say(describe(n.Kind, n.Key, have, n.Want))
	return nil
}

// Down restores what Up found, as far as no other address needs it. It may be
// repeated, and finishes what an interrupted Up or Down left.
func (h *Host) Down(vip netip.Addr) error {
	s, err := openStore(h.folder)
	if err != nil {
		return err
	}
	defer s.close()
	m, err := read(s.file)
	if err != nil {
		return err
	}
	return h.down(s, &m, vip)
}

// Addresses lists what is up.
func (h *Host) Addresses() ([]netip.Addr, error) {
	m, err := read(filepath.Join(h.folder, fileName))
	var all []netip.Addr
	for _, w := range m.Wishes {
		all = append(all, w.VIP)
	}
	return all, err
}

func (h *Host) down(s *store, m *memory, vip netip.Addr) error {
	kept := map[need]bool{}
	m.Wishes = slices.DeleteFunc(slices.Clone(m.Wishes), func(w Wish) bool {
		if w.VIP == vip {
			return true
		}
		for _, n := range w.needs() {
			kept[need{Kind: n.Kind, Key: n.Key}] = true
		}
		return false
	})
	var failed error
	for _, r := range slices.Backward(slices.Clone(m.Undo)) {
		n := need{Kind: r.Kind, Key: r.Key}
		if kept[n] {
			continue
		}
		if err := h.restore(r); err != nil {
			failed = errors.Join(failed, err)
			continue // the record stays, for the next try
		}
		m.Undo = slices.Delete(m.Undo, m.find(n), m.find(n)+1)
		if err := s.save(*m); err != nil {
			return errors.Join(failed, err)
		}
	}
	return errors.Join(failed, s.save(*m))
}

// restore takes back one change, unless somebody else has changed it since.
func (h *Host) restore(r record) error {
	n := need{Kind: r.Kind, Key: r.Key}
	have, err := h.kernel.Read(n)
	switch {
	case err != nil:
		return err
	case have == r.Found || have == "", r.Kind == kindLink && r.Found == "" && have == "down":
		return nil
	case have != r.Set:
		h.say(fmt.Sprintf("%s is %s by now, which was not set here: left as it is", r.Key, have))
		return nil
	}
	if err := h.kernel.Write(n, r.Found); err != nil {
		return err
	}
	h.say(describe(r.Kind, r.Key, have, r.Found))
	return nil
}

// describe puts a change into words.
func describe(k kind, key, from, to string) string {
	switch {
	case k == kindSysctl:
		return fmt.Sprintf("%s = %s (was %s)", key, to, from)
	case k == kindLink && to == "up":
		return "device " + key + " up"
	case k == kindLink:
		return "device " + key + " down"
	case k == kindGRE && to == "":
		return "device " + key + " removed"
	case k == kindGRE:
		return fmt.Sprintf("device %s for gre to %s", key, to)
	case k == kindFOU && to == "":
		return "gue no longer taken on " + key
	case k == kindFOU:
		return "gue taken on " + key
	}
	device, prefix, _ := strings.Cut(key, " ")
	if to == "" {
		return fmt.Sprintf("%s taken off %s", prefix, device)
	}
	return fmt.Sprintf("%s set on %s", prefix, device)
}

// State is what Status finds for one address.
type State struct {
	Wish
	Up    bool   `json:"up"`    // everything is as it must be
	Known bool   `json:"known"` // Up was asked for here, and Down would undo it
	Parts []Part `json:"parts"`
}

// Part is one thing that a wish needs.
type Part struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Have string `json:"have"`
	Want string `json:"want"`
	OK   bool   `json:"ok"`
}

// Status looks at every address that Up was asked for, or at those given.
func (h *Host) Status(wishes []Wish) ([]State, error) {
	m, err := read(filepath.Join(h.folder, fileName))
	if err != nil {
		return nil, err
	}
	if len(wishes) == 0 {
		wishes = m.Wishes
	}
	all := []State{}
	for _, w := range wishes {
		st := State{Wish: w, Up: true}
		for _, o := range m.Wishes {
			if o.VIP == w.VIP {
				st.Wish, st.Known = o, true
			}
		}
		for _, n := range st.needs() {
			have, err := h.kernel.Read(n)
			if err != nil {
				return nil, err
			}
			p := Part{string(n.Kind), n.Key, have, n.Want, n.met(have)}
			st.Up = st.Up && p.OK
			st.Parts = append(st.Parts, p)
		}
		all = append(all, st)
	}
	return all, nil
}
