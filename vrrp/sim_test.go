package vrrp

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/vrrp/auth"
)

var (
	simSeeds = flag.Int("sim.seeds", 2000, "how many elections are simulated")
	simSeed  = flag.Uint64("sim.seed", 0, "replay this one, with a trace")
)

// simulation is a LAN of two to five directors: their machines, and a queue of future
// events around them. It is random only by its seed.
type simulation struct {
	seed  uint64
	r     *rand.Rand
	now   time.Time
	begin time.Time
	queue queue
	seq   int
	trace []string

	directors []*simulated
	delay     time.Duration // the longest a packet takes
	loss      float64
	twice     float64 // how many packets arrive twice
	kernels   bool    // kernels fail too
	broken    map[[2]int]bool
	keys      *auth.Keyring // nil: adverts are not signed

	clear   map[[2]int]time.Time // since when two masters could receive each other
	failure string

	late      bool       // a LAN forwarded late
	clocksSet time.Time  // when all clocks were set
	announcer *simulated // who announced the addresses last; nil: a stranger
	noticed   bool       // all directors could have received it
}

// simulated is one director and its kernel.
type simulated struct {
	id      int
	addr    netip.Addr
	cfg     Config
	m       *machine
	run     int // which start of the process this is; others' events are stale
	alive   bool
	link    bool
	blocked time.Time      // until when its LAN does not forward, although the link is up
	delta   int            // what is tracked
	faulty  bool           // its kernel refuses to add addresses
	present []netip.Prefix // on its interface, also while it is dead
	ticks   time.Time      // the tick that is planned
	changes int            // of state
	updated time.Time

	wall  time.Duration // how far its clock is ahead of the simulation's
	off   time.Duration // and of what it should be
	stamp auth.Stamp
	peers map[netip.Addr]auth.Peer

	frozen bool    // it does not run: stopped, or its machine is paused
	inbox  []input // what it will receive then: as much as an engine's queue holds
}

type happening struct {
	at  time.Time
	seq int
	do  func()
}

type queue []happening

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(happening)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func newSimulation(seed uint64) *simulation {
	s := &simulation{
		seed: seed, r: rand.New(rand.NewPCG(seed, 1)),
		begin:  time.Unix(1_000_000, 0),
		broken: map[[2]int]bool{}, clear: map[[2]int]time.Time{},
	}
	s.now = s.begin
	intervals := []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second}
	every := intervals[s.r.IntN(len(intervals))]
	version, held, net := uint8(3), vip, netip.AddrFrom4([4]byte{10, 0, 0, 0}).AsSlice()
	switch seed % 5 {
	case 1:
		held, net = vip6, ll1.AsSlice()
	case 2:
		version, every = 2, max(every, time.Second)
	}
	s.kernels = every >= time.Second && seed%4 == 0
	if version == 3 && seed%2 == 0 {
		s.keys, _ = auth.ParseKeys([]byte("1 0123456789abcdef"), false)
	}
	s.delay = min(every/20, 3*time.Millisecond)
	for i := range 2 + s.r.IntN(4) {
		cfg := config(interval(every), priority(uint8(1+s.r.IntN(254))))
		cfg.Version, cfg.Addresses = version, []netip.Prefix{held}
		cfg.HandoverLimit = []time.Duration{0, 5 * time.Second}[seed/5%2]
		switch s.r.IntN(8) {
		case 0:
			if version == 3 {
				cfg.AdvertInterval = every * time.Duration(1+s.r.IntN(5))
			}
		case 1:
			cfg.Preempt = false
		case 2:
			cfg.PreemptDelay = time.Duration(s.r.IntN(10)) * every
		case 3:
			cfg.Priority = 100 // ties
		case 4:
			cfg.Checksum = RFC9568
		}
		cfg.Standby = i == 0 && seed%3 == 0
		own := slices.Clone(net)
		own[len(own)-1] = byte(10 + s.r.IntN(45)*5 + i)
		addr, _ := netip.AddrFromSlice(own)
		s.directors = append(s.directors, &simulated{id: i, addr: addr, cfg: cfg, link: true})
	}
	return s
}

func (s *simulation) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, happening{s.now.Add(d), s.seq, do})
}

func (s *simulation) note(format string, args ...any) {
	if *simSeed != 0 {
		s.trace = append(s.trace, fmt.Sprintf("%10.4f  ", s.now.Sub(s.begin).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (s *simulation) fail(format string, args ...any) {
	if s.failure == "" {
		s.failure = fmt.Sprintf("at %v: ", s.now.Sub(s.begin)) + fmt.Sprintf(format, args...)
	}
}

// until advances the time to a moment.
func (s *simulation) until(t time.Time) {
	for len(s.queue) > 0 && !s.queue[0].at.After(t) && s.failure == "" {
		h := heap.Pop(&s.queue).(happening)
		s.now = h.at
		s.look()
		h.do()
		s.look()
	}
	s.now = t
	s.look()
}

// start begins a process; its interface holds what the last one left.
func (s *simulation) start(d *simulated) {
	if d.alive {
		return
	}
	d.alive, d.ticks = true, time.Time{}
	d.run++
	d.m = newMachine(d.cfg, s.now)
	d.stamp, d.peers = auth.Stamp{Run: s.micros(d)}, map[netip.Addr]auth.Peer{}
	s.note("%d starts with %v", d.id, d.present)
	s.step(d, input{kind: inTrack, delta: d.delta})
	s.step(d, input{kind: inStart, prefixes: slices.Clone(d.present)})
	s.linkState(d)
}

func (s *simulation) linkState(d *simulated) {
	if d.link {
		s.step(d, input{kind: inReady, from: d.addr})
	} else {
		s.step(d, input{kind: inUnready, reason: ReasonLinkDown})
	}
}

// micros is a director's clock in microseconds.
func (s *simulation) micros(d *simulated) uint64 { return uint64(s.now.Add(d.wall).UnixMicro()) }

// kill ends a process at once: its addresses stay.
func (s *simulation) kill(d *simulated) {
	d.alive = false
	d.run++
	d.frozen, d.inbox = false, nil
	s.note("%d is killed", d.id)
}

func (s *simulation) step(d *simulated, in input) {
	if d.frozen {
		// An engine's queue of adverts is bounded; nothing else is lost.
		if in.kind != inTick && (in.kind != inAdvert || len(d.inbox) < 64) {
			d.inbox = append(d.inbox, in)
		}
		return
	}
	if in.kind == inUpdate {
		d.updated = s.now // a down timer may be over by the new priority
	}
	if in.kind == inTick && d.updated != s.now {
		if due := d.m.Deadline(); !due.IsZero() && due.Before(s.now) {
			s.fail("director %d was due %v ago", d.id, s.now.Sub(due))
		}
	}
	for _, a := range slices.Clone(d.m.Step(s.now, in)) {
		s.act(d, a)
	}
	due := d.m.Deadline()
	if in.kind == inTick && !due.IsZero() && !due.After(s.now) {
		s.fail("director %d goes round in circles in state %v", d.id, d.m.state)
	}
	if !due.IsZero() && due != d.ticks {
		run := d.run
		d.ticks = due
		// The old tick stays planned, as a timer that fired before it was replaced.
		s.after(max(0, due.Sub(s.now)), func() {
			if d.run == run {
				s.step(d, input{kind: inTick})
			}
		})
	}
}

func (s *simulation) act(d *simulated, a action) {
	switch a.kind {
	case doSend:
		s.send(d, a.priority)
	case doSetAddresses:
		run := d.run
		s.after(time.Duration(s.r.Int64N(int64(s.delay)+1)), func() {
			if d.run != run || a.addrSeq != d.m.addrSeq {
				return // as in the interface worker: the newest request counts
			}
			in := input{kind: inAddresses, addrSeq: a.addrSeq}
			if d.faulty && len(subtract(a.prefixes, d.present)) > 0 {
				in.detail, in.prefixes = "refused", d.present
			} else {
				d.present, in.prefixes = a.prefixes, a.prefixes
			}
			s.step(d, in)
		})
	case didChangeState:
		d.changes++
		s.note("%d (priority %d) becomes %v by %s: %s", d.id, d.m.priority(), a.to, a.reason, a.detail)
	case doAnnounce:
		if d.m.state != Master {
			s.fail("director %d announces as %v", d.id, d.m.state)
		}
		if s.reaches(d) {
			s.announcer, s.noticed = d, s.loss == 0
			for _, o := range s.directors {
				s.noticed = s.noticed && s.reaches(o) && !s.broken[[2]int{d.id, o.id}]
			}
		}
	}
}

// thaw resumes a director: for it the clock jumps. It reads its queue before it acts on
// a timer that expired long ago.
func (s *simulation) thaw(d *simulated) {
	if !d.frozen {
		return
	}
	s.note("%d goes on", d.id)
	d.frozen, d.updated, d.ticks = false, s.now, time.Time{}
	inbox := d.inbox
	d.inbox = nil
	for _, in := range inbox {
		s.step(d, in)
	}
	s.step(d, input{kind: inTick})
}

// reaches reports whether a director's LAN forwards.
func (s *simulation) reaches(d *simulated) bool { return d.link && !s.now.Before(d.blocked) }

// send carries an advert through codec and LAN.
func (s *simulation) send(d *simulated, priority uint8) {
	if !s.reaches(d) {
		return
	}
	c := d.m.cfg
	a := Advert{c.VRID, priority, c.AdvertInterval, []netip.Addr{c.Addresses[0].Addr()}, c.Checksum}
	message := a.Append(nil, d.addr, groupAddress(d.addr))
	if c.Version == 2 {
		message = a.AppendV2(nil, nil)
	}
	context := auth.Context{Instance: c.Name, Source: d.addr, Destination: groupAddress(d.addr)}
	if s.keys != nil {
		d.stamp.Counter++
		d.stamp.Time = s.micros(d)
		message = s.keys.Sign(message, context, d.stamp)
	}
	for _, to := range s.directors {
		copies := 1
		if s.r.Float64() < s.twice {
			copies = 2
		}
		for range copies {
			if to == d || !s.reaches(to) || s.broken[[2]int{d.id, to.id}] || s.r.Float64() < s.loss {
				continue
			}
			s.after(time.Duration(s.r.Int64N(int64(s.delay)+1)), func() {
				if !to.alive || !s.reaches(to) {
					return
				}
				var a Advert
				if drop := Decode(Header{d.addr, groupAddress(d.addr), 255}, message, &Rules{VRID: c.VRID, Version: c.Version, Interval: to.m.cfg.AdvertInterval}, &a); drop != DropNone {
					s.fail("refused: %v", drop)
					return
				}
				if s.keys != nil {
					peer := to.peers[d.addr]
					switch err := s.keys.Verify(context, message, &peer, s.now.Add(to.wall), a.Interval); {
					case err == auth.ErrReplay:
						return // it arrived twice, or after a later one
					case err == auth.ErrClock && s.now.Sub(s.clocksSet) <= s.delay:
						return // it was on the way while the clocks were set
					case err != nil:
						s.fail("refused: %v", err)
						return
					}
					to.peers[d.addr] = peer
				}
				s.step(to, input{kind: inAdvert, from: d.addr, priority: a.Priority, interval: a.Interval, addresses: a.Addresses})
			})
		}
	}
}

// look checks the invariants.
func (s *simulation) look() {
	for i, a := range s.directors {
		if a.alive && a.m.state != Master && a.m.state != Backup && len(a.m.want) > 0 && !a.m.releasing() {
			s.fail("director %d wants addresses as %v", i, a.m.state)
		}
		for j, b := range s.directors[:i] {
			pair := [2]int{j, i}
			hear := s.loss == 0 && s.reaches(a) && s.reaches(b) && !s.broken[pair] && !s.broken[[2]int{i, j}]
			both := a.alive && b.alive && !a.frozen && !b.frozen && a.m.state == Master && b.m.state == Master
			if !hear || !both {
				delete(s.clear, pair)
				continue
			}
			if s.clear[pair].IsZero() {
				s.clear[pair] = s.now
			}
			// One of them adverts within its interval, and the answer to it comes at
			// once, or after another answer: the shorter interval, the time between
			// two answers and two ways.
			bound := min(a.m.cfg.AdvertInterval, b.m.cfg.AdvertInterval) +
				max(a.m.cfg.AdvertInterval, b.m.cfg.AdvertInterval)/answersPerInterval + 2*s.delay
			if s.now.Sub(s.clear[pair]) > bound {
				s.fail("directors %d and %d are both master for more than %v and hear each other", j, i, bound)
			}
		}
	}
}

// chaos starts or ends one fault.
func (s *simulation) chaos() {
	d := s.directors[s.r.IntN(len(s.directors))]
	other := s.directors[s.r.IntN(len(s.directors))]
	switch s.r.IntN(15) {
	case 14: // all clocks are set
		by := time.Duration(s.r.Int64N(int64(4*time.Hour))) - 2*time.Hour
		for _, d := range s.directors {
			d.wall += by
		}
		s.clocksSet = s.now
		s.note("all clocks are set by %v", by)
	case 12, 13: // its clock is set; the clocks differ by less than [auth.MaxClockError]
		was := d.off
		d.off = time.Duration(s.r.Int64N(28_000)-14_000) * time.Millisecond
		d.wall += d.off - was
		s.note("the clock of %d is off by %v", d.id, d.off)
	case 10, 11:
		if d.frozen {
			s.thaw(d)
		} else if d.alive {
			s.note("%d stands still", d.id)
			d.frozen = true
		}
	case 0:
		if d.alive {
			s.kill(d)
		}
	case 1, 2:
		s.start(d)
	case 3:
		if d.alive && !d.frozen { // SIGTERM; what the stop asks for is done before it ends
			s.step(d, input{kind: inStop})
			d.present = nil
			s.kill(d)
		}
	case 4, 5:
		d.link = !d.link
		if d.link && s.r.IntN(2) == 0 { // as with STP
			d.blocked, s.late = s.now.Add(time.Duration(s.r.Int64N(int64(2*downInterval(1, d.cfg.AdvertInterval))))), true
		}
		s.note("link of %d: %v, forwards after %v", d.id, d.link, max(d.blocked.Sub(s.now), 0))
		if d.alive {
			s.linkState(d)
		}
	case 6:
		pair := [2]int{d.id, other.id} // one way
		s.broken[pair] = !s.broken[pair]
		s.note("%d to %d broken: %v", d.id, other.id, s.broken[pair])
	case 7:
		s.loss = []float64{0, 0, 0.05, 0.33}[s.r.IntN(4)]
		s.twice = []float64{0, 0.1}[s.r.IntN(2)]
		s.note("loss %v, twice %v", s.loss, s.twice)
	case 8:
		if d.alive {
			if s.r.IntN(2) == 0 {
				d.delta = s.r.IntN(200) - 100
				s.note("%d is bent by %+d", d.id, d.delta)
				s.step(d, input{kind: inTrack, delta: d.delta})
				d.updated = s.now
				break
			}
			d.cfg.Priority = uint8(1 + s.r.IntN(254))
			s.note("%d gets priority %d", d.id, d.cfg.Priority)
			s.step(d, input{kind: inUpdate, config: d.cfg})
		}
	case 9:
		d.faulty = s.kernels && !d.faulty
	}
}

// heal ends all faults.
func (s *simulation) heal() {
	s.note("all is healed")
	s.loss, s.twice = 0, 0
	clear(s.broken)
	for _, d := range s.directors {
		s.thaw(d)
		d.faulty, d.blocked = false, time.Time{}
		if !d.link {
			d.link = true
			if d.alive {
				s.linkState(d)
			}
		}
		s.start(d)
	}
}

func (s *simulation) masters() (out []*simulated) {
	for _, d := range s.directors {
		if d.alive && d.m.state == Master {
			out = append(out, d)
		}
	}
	return out
}

// play simulates a LAN: without faults, with faults, and without.
func (s *simulation) play() {
	var longest time.Duration
	preempting, best := true, uint8(0)
	for _, d := range s.directors {
		longest = max(longest, d.cfg.AdvertInterval)
		preempting = preempting && d.cfg.Preempt && d.cfg.PreemptDelay == 0
		s.after(time.Duration(s.r.Int64N(int64(longest))), func() { s.start(d) })
	}
	down := downInterval(1, longest)
	s.until(s.now.Add(3 * down))
	for range 40 {
		s.chaos()
		s.until(s.now.Add(time.Duration(s.r.Int64N(int64(down)))))
	}
	s.heal()

	// A master within a down interval of health (and of a failed one's pause).
	healed := s.now
	for len(s.masters()) == 0 && s.failure == "" {
		if s.now.Sub(healed) > down+retryAfter+2*s.delay {
			s.fail("no master %v after all was healed", s.now.Sub(healed))
		}
		s.until(s.now.Add(longest / 10))
	}
	// Everything that was started has ended, also the times during which a failed one does
	// not preempt.
	settle := 12*longest + 3*down + releaseDelay
	if s.kernels {
		settle += holdoffMax
	}
	if s.late {
		settle += lateRefresh
	}
	held := time.Duration(0) // of one whose link flapped
	for _, d := range s.directors {
		held = max(held, d.m.holdoff)
	}
	s.until(s.now.Add(settle + held))
	for _, d := range s.directors {
		best = max(best, d.m.priority())
		d.changes = 0
	}
	for i := range 200 {
		s.until(s.now.Add(longest / 3))
		m := s.masters()
		if len(m) != 1 {
			s.fail("%d masters on a healthy LAN", len(m))
			return
		}
		if s.noticed && s.announcer != m[0] {
			s.fail("director %d is master, and was not the last to announce", m[0].id)
		}
		if i%50 == 0 { // a stranger announces an address; the master's answer is in time for the next look
			s.announcer, s.noticed = nil, true
			s.step(m[0], input{kind: inSighting, holders: []Holder{{Address: m[0].cfg.Addresses[0].Addr(), Detail: "is used"}}})
			s.until(s.now.Add(announceGap))
		}
		if preempting && m[0].m.priority() != best {
			s.fail("the master has priority %d, the best %d", m[0].m.priority(), best)
		}
		for _, d := range s.directors {
			if d.changes > 0 {
				s.fail("director %d changed its state on a healthy LAN", d.id)
			}
			if holds := len(d.present) > 0; holds != (d == m[0]) {
				s.fail("director %d, %v, holds the address: %v", d.id, d.m.state, holds)
			}
			if d != m[0] && d.m.master != m[0].addr {
				s.fail("director %d takes %v for the master", d.id, d.m.master)
			}
			if d.m.conflict != "" {
				s.fail("director %d feels contested: %s", d.id, d.m.conflict)
			}
		}
	}
	s.restartAll()
}

// restartAll kills all directors and starts them within one interval. One on standby
// must not become master then.
func (s *simulation) restartAll() {
	every := s.directors[0].cfg.AdvertInterval
	for _, d := range s.directors {
		if d.cfg.AdvertInterval != every {
			return
		}
		s.kill(d)
	}
	for _, d := range s.directors {
		s.after(time.Duration(s.r.Int64N(int64(every))), func() { s.start(d) })
	}
	s.until(s.now.Add(60 * every))
	switch m := s.masters(); {
	case s.failure != "":
	case len(m) != 1:
		s.fail("%d masters after a joint start", len(m))
	case m[0].cfg.Standby:
		s.fail("director %d is master on standby after a joint start", m[0].id)
	}
}

func TestSimulation(t *testing.T) {
	first, last := uint64(1), uint64(*simSeeds)
	if testing.Short() {
		last = 200
	}
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	changes := 0
	for seed := first; seed <= last; seed++ {
		s := newSimulation(seed)
		s.play()
		if s.failure != "" {
			t.Fatalf("seed %d (replay: go test -run Simulation -sim.seed %d): %s\n%s", seed, seed, s.failure, strings.Join(s.trace, "\n"))
		}
		changes += s.seq
	}
	t.Logf("%d elections, %d happenings", last-first+1, changes)
}
