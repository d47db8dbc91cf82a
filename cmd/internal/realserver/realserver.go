// This file has Up, Down and Status.

package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultFolder is where previous settings are recorded. Like the settings it does not
// survive a reboot.
const DefaultFolder = "/run/lvsd"

// kernel reads and writes settings. An empty value stands for an absent one.
type kernel interface {
	Read(n need) (string, error)
	Write(n need, value string) error
	// Holders returns the devices that have the address.
	Holders(a netip.Addr) ([]string, error)
}

// Host is this host as a real server.
type Host struct {
	folder string
	kernel kernel
	log    func(string) // called with each change
}

// New returns this host. Log is called with each change when it is made.
func New(folder string, log func(string)) *Host {
	return &Host{folder, system{}, log}
}

// Up applies a spec. It changes nothing that is already as required, and may be
// repeated. On failure it undoes its changes.
func (h *Host) Up(w Spec) error {
	s, err := openStore(h.folder)
	if err != nil {
		return err
	}
	defer s.close()
	m, err := read(s.file)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(m.Specs, func(o Spec) bool { return o.VIP == w.VIP })
	if i >= 0 && m.Specs[i] != w {
		return fmt.Errorf("%s is already up as %s: run lvsd realserver down --vip %s first", w.VIP, m.Specs[i], w.VIP)
	}
	holders, err := h.kernel.Holders(w.VIP)
	if err != nil {
		return err
	}
	for _, device := range holders {
		if device != w.device() {
			return fmt.Errorf("%s is already on %s but belongs on %s: remove it there first", w.VIP, device, w.device())
		}
	}
	if i < 0 {
		m.Specs = append(m.Specs, w)
		if err := s.save(m); err != nil {
			return err
		}
	}
	for _, n := range w.needs() {
		if err := h.apply(s, &m, n); err != nil {
			if i < 0 {
				err = errors.Join(err, h.down(s, &m, w.VIP))
			}
			return err
		}
	}
	return nil
}

// apply makes one setting, after recording the previous value.
func (h *Host) apply(s *store, m *memory, n need) error {
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
	h.log(describe(n.Kind, n.Key, have, n.Want))
	return nil
}

// Down restores the values before Up, except what other addresses need. It may be
// repeated, and completes an interrupted Up or Down.
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

// Addresses lists the addresses that are up.
func (h *Host) Addresses() ([]netip.Addr, error) {
	m, err := read(filepath.Join(h.folder, fileName))
	var all []netip.Addr
	for _, w := range m.Specs {
		all = append(all, w.VIP)
	}
	return all, err
}

func (h *Host) down(s *store, m *memory, vip netip.Addr) error {
	kept := map[need]bool{}
	m.Specs = slices.DeleteFunc(slices.Clone(m.Specs), func(w Spec) bool {
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
			continue // the record remains for the next attempt
		}
		m.Undo = slices.Delete(m.Undo, m.find(n), m.find(n)+1)
		if err := s.save(*m); err != nil {
			return errors.Join(failed, err)
		}
	}
	return errors.Join(failed, s.save(*m))
}

// restore undoes one change, unless it has been changed since by another program.
func (h *Host) restore(r record) error {
	n := need{Kind: r.Kind, Key: r.Key}
	have, err := h.kernel.Read(n)
	switch {
	case err != nil:
		return err
	case have == r.Found || have == "", r.Kind == kindLink && r.Found == "" && have == "down":
		return nil
	case have != r.Set:
		h.log(fmt.Sprintf("%s is now %s, which was not set here: left unchanged", r.Key, have))
		return nil
	}
	if err := h.kernel.Write(n, r.Found); err != nil {
		return err
	}
	h.log(describe(r.Kind, r.Key, have, r.Found))
	return nil
}

// describe is the text of a change.
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
		return "gue no longer accepted on " + key
	case k == kindFOU:
		return "gue accepted on " + key
	}
	device, prefix, _ := strings.Cut(key, " ")
	if to == "" {
		return fmt.Sprintf("%s removed from %s", prefix, device)
	}
	return fmt.Sprintf("%s set on %s", prefix, device)
}

// State is the status of one address.
type State struct {
	Spec
	Up    bool   `json:"up"`    // all settings are as required
	SetUp bool   `json:"known"` // set up by Up; Down would undo it
	Parts []Part `json:"parts"`
}

// Part is one setting that a spec needs.
type Part struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Have string `json:"have"`
	Want string `json:"want"`
	OK   bool   `json:"ok"`
}

// Status checks every address set up by Up, or those given.
func (h *Host) Status(specs []Spec) ([]State, error) {
	m, err := read(filepath.Join(h.folder, fileName))
	if err != nil {
		return nil, err
	}
	if len(specs) == 0 {
		specs = m.Specs
	}
	all := []State{}
	for _, w := range specs {
		st := State{Spec: w, Up: true}
		for _, o := range m.Specs {
			if o.VIP == w.VIP {
				st.Spec, st.SetUp = o, true
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
