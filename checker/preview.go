// This file says what a new set of targets would make of the verdicts, without
// taking it over: the same code as Set's works on a copy of what is known. It
// never starts a probe.

package checker

// Preview is what Set would make of a set of targets.
type Preview struct {
	Health map[ID]Health // as Health would tell at once afterwards
	// Anew counts the checks of a target that the target has not now: their
	// results so far, if any, are those of other targets.
	Anew map[ID]int
}

// Preview says what Set would do. Its error is Set's.
func (e *Engine) Preview(targets []Target) (Preview, error) {
	e.setting.Lock()
	defer e.setting.Unlock()
	keys, prepared, err := e.prepareAll(targets)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{Anew: map[ID]int{}}
	e.mu.Lock()
	next := keys
	for _, t := range targets {
		if n := e.targets[t.ID].lacks(next[:len(t.Checks)]); n > 0 {
			out.Anew[t.ID] = n
		}
		next = next[len(t.Checks):]
	}
	shadow := e.shadow()
	e.mu.Unlock()
	shadow.replace(targets, keys, prepared)
	out.Health = shadow.Health()
	return out, nil
}

// lacks counts the keys of which the target has no check. A nil target has none.
func (t *target) lacks(keys []string) int {
	had := map[string]bool{}
	if t != nil {
		for _, j := range t.judges {
			had[j.key] = true
		}
	}
	n := 0
	for _, k := range keys {
		if !had[k] {
			n++
		}
	}
	return n
}

// shadow copies what replace changes. Histories are left out: verdicts do not
// come from them, and they are most of the memory.
func (e *Engine) shadow() *Engine {
	s := &Engine{targets: make(map[ID]*target, len(e.targets)), probes: make(map[string]*probe, len(e.probes))}
	for key, p := range e.probes {
		own := &probe{key: key, address: p.address, kind: p.kind, timeout: p.timeout, timing: p.timing,
			said: p.said, expiry: p.expiry, last: p.last, about: p.about, totals: p.totals}
		if _, ok := p.run.(resumer); ok {
			own.run = shadowProber{}
		}
		s.probes[key] = own
	}
	for id, t := range e.targets {
		own := *t
		own.judges = make([]*judge, len(t.judges))
		for i, j := range t.judges {
			copied := *j
			copied.target = &own
			if j.probe != nil {
				copied.probe = s.probes[j.key]
			}
			own.judges[i] = &copied
		}
		s.targets[id] = &own
	}
	return s
}

// shadowProber stands for a prober that goes on from what was said.
type shadowProber struct{ prober }

func (shadowProber) resume(said) {}
