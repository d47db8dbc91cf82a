package decision

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/config"
)

// rareProbes is how many intervals pass between two probes of a server that another
// director probes, at least: the reachability from here is found out that late.
const rareProbes = 10

// RareProbes returns how many intervals pass between two probes of a server that another of
// n directors probes. With it a server gets less than two probes an interval, whatever n.
func RareProbes(n int) int { return max(rareProbes, n) }

// Delegated returns the real servers whose probes this director leaves to another one, with
// its name ([peers] probe_share). Each server belongs to one of the directors that run the
// same configuration and reply, by rendezvous hashing; its probes are left to that one while
// it reports that its own find the server up, and while nothing here contradicts that. So a
// server that fails is probed by all, and each decides by its own results: a director that
// cannot reach a server takes it from no other.
func Delegated(c *config.Config, health map[checker.ID]checker.Health, since time.Time, peers []Peer) map[checker.ID]string {
	if c.Exchange == nil || !c.Exchange.ProbeShare {
		return nil
	}
	candidates := []candidate{candidateOf(c.Director)}
	probed := map[string][]byte{}
	for _, p := range peers {
		if p.Answers && p.Hash == c.Hash {
			candidates = append(candidates, candidateOf(p.Name))
			probed[p.Name] = p.Probed
		}
	}
	if len(candidates) == 1 {
		return nil
	}
	out, i := map[checker.ID]string{}, -1
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			if i++; !shareable(rs) {
				continue
			}
			id, by := ServerID(svc, rs), owner(candidates, rs.Address.Addr())
			if by != c.Director && bit(probed[by], i) && steady(health[id]) && verified(since, health[id]) {
				out[id] = by
			}
		}
	}
	return out
}

// Probed returns the real servers that this director's own probes find up, as others read
// it: a bit for each server in the order of the file, the lowest bit of an octet first. A
// server of which a failure is counted is not among them, nor one whose probes are late.
func Probed(c *config.Config, health map[checker.ID]checker.Health, now time.Time) []byte {
	if c.Exchange == nil || !c.Exchange.ProbeShare {
		return nil
	}
	var bits []byte
	i := 0
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			if i%8 == 0 {
				bits = append(bits, 0)
			}
			if h := health[ServerID(svc, rs)]; shareable(rs) && h.ProbedBy == "" && steady(h) && inTime(rs, h, now) {
				bits[i/8] |= 1 << (i % 8)
			}
			i++
		}
	}
	return bits
}

func bit(bits []byte, i int) bool { return i/8 < len(bits) && bits[i/8]>>(i%8)&1 == 1 }

// shareable reports whether the probes of a real server can be shared: not those through the
// kernel's forwarding, which test this director's own, and not where nothing is probed.
func shareable(rs config.RealServer) bool {
	probes := func(c config.Check) bool { return c.Type != probe.TypeOn && c.Type != probe.TypeOff }
	return slices.ContainsFunc(rs.Checks, probes) && !slices.ContainsFunc(rs.Checks, func(c config.Check) bool { return c.Through })
}

// steady reports whether a server is up and nothing is about to change that, nor what its
// agent reports.
func steady(h checker.Health) bool {
	return h.State == checker.Up && h.InARow == 0 && h.UncheckedSince.IsZero() &&
		h.Weight == outcome.NoReport.Weight && !h.Maint && !h.Drain
}

// inTime reports whether each check has had a result recently.
func inTime(rs config.RealServer, h checker.Health, now time.Time) bool {
	for i, c := range h.Checks {
		if i >= len(rs.Checks) || now.Sub(c.Last.At) > 2*rs.Checks[i].Interval+rs.Checks[i].Timeout && c.Type != probe.TypeOn && c.Type != probe.TypeOff {
			return false
		}
	}
	return true
}

// candidate is a director among those that could probe a server.
type candidate struct {
	name string
	hash uint64
}

func candidateOf(name string) candidate { return candidate{name, hashOf([]byte(name))} }

// owner returns the director that probes an address, by rendezvous hashing: one that comes
// or goes takes only its own share with it. All services on one host have one owner, so that
// probes that they share are made once.
func owner(candidates []candidate, a netip.Addr) string {
	var first candidate
	var most uint64
	address := a.As16()
	server := hashOf(address[:])
	for _, c := range candidates {
		// splitmix64's finalizer, by Sebastiano Vigna, public domain.
		x := c.hash ^ server
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		if first.name == "" || x > most || x == most && c.name < first.name {
			first, most = c, x
		}
	}
	return first.name
}

func hashOf(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}
