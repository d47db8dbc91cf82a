package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A bench drives one machine step by step. Times are counted from its start.
type bench struct {
	t     *testing.T
	m     *machine
	start time.Time
	now   time.Time
}

var (
	vip2  = netip.MustParsePrefix("10.0.0.89/32")
	extra = netip.MustParsePrefix("192.0.2.1/32")
)

func config(change ...func(*Config)) Config {
	c := Config{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 100,
		AdvertInterval: time.Second, Preempt: true, Addresses: []netip.Prefix{vip},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func priority(p uint8) func(*Config)         { return func(c *Config) { c.Priority = p } }
func interval(d time.Duration) func(*Config) { return func(c *Config) { c.AdvertInterval = d } }
func preemptDelay(d time.Duration) func(*Config) {
	return func(c *Config) { c.PreemptDelay = d }
}
func noPreempt(c *Config) { c.Preempt = false }

// newBench is a director that has not started.
func newBench(t *testing.T, change ...func(*Config)) *bench {
	start := time.Unix(1_000_000, 0)
	return &bench{t: t, m: newMachine(config(change...), start), start: start, now: start}
}

// backup is one that has started, sends from 10.0.0.12 and receives nothing.
func backup(t *testing.T, change ...func(*Config)) *bench {
	b := newBench(t, change...)
	b.step(input{kind: inStart})
	b.want(b.step(input{kind: inReady, from: lb1}), "became backup start")
	return b
}

// master is one that took over because no adverts arrived.
func master(t *testing.T, change ...func(*Config)) *bench {
	b := backup(t, change...)
	b.run()
	if b.m.state != Master {
		t.Fatalf("%v after the down interval", b.m.state)
	}
	b.answer()
	return b
}

// step processes one input and returns the actions, one a line.
func (b *bench) step(in input) []string {
	var out []string
	for _, a := range b.m.Step(b.now, in) {
		switch a.kind {
		case doSend:
			out = append(out, fmt.Sprintf("send %d", a.priority))
		case doSetAddresses:
			out = append(out, "hold"+list(a.prefixes))
		case doAnnounce:
			out = append(out, "announce"+list(a.prefixes))
		case didChangeState:
			out = append(out, fmt.Sprintf("became %s %s", a.to, a.reason))
			if a.to != b.m.state {
				b.t.Errorf("reported %v, is %v", a.to, b.m.state)
			}
		}
	}
	return out
}

func list(prefixes []netip.Prefix) string {
	var s strings.Builder
	for _, p := range prefixes {
		s.WriteString(" " + p.Addr().String())
	}
	return s.String()
}

// run advances to the next deadline and handles it.
func (b *bench) run() []string {
	b.now = b.m.Deadline()
	return b.step(input{kind: inTick})
}

// at advances the time, which must not pass a deadline that was not handled.
func (b *bench) at(since time.Duration) *bench {
	b.now = b.start.Add(since)
	if d := b.m.Deadline(); !d.IsZero() && d.Before(b.now) {
		b.t.Fatalf("the deadline at %v was not served by %v", d.Sub(b.start), since)
	}
	return b
}

func (b *bench) advert(from netip.Addr, priority uint8, every ...time.Duration) []string {
	in := input{kind: inAdvert, from: from, priority: priority, interval: time.Second, addresses: []netip.Addr{vip.Addr()}}
	if len(every) > 0 {
		in.interval = every[0]
	}
	return b.step(in)
}

// answer reports that the last request was carried out.
func (b *bench) answer() []string {
	return b.step(input{kind: inAddresses, prefixes: b.m.want, addrSeq: b.m.addrSeq})
}

func (b *bench) fail(detail string) []string {
	return b.step(input{kind: inAddresses, addrSeq: b.m.addrSeq, detail: detail})
}

func (b *bench) want(got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("at %v:\n got %q\nwant %q", b.now.Sub(b.start), got, want)
	}
}

func (b *bench) deadline(timer time.Time, want time.Duration) {
	b.t.Helper()
	if got := timer.Sub(b.now); timer.IsZero() || got != want {
		b.t.Errorf("the timer is due in %v, want %v", got, want)
	}
}

func (b *bench) state(want State) {
	b.t.Helper()
	if b.m.state != want {
		b.t.Errorf("at %v: %v, want %v", b.now.Sub(b.start), b.m.state, want)
	}
}

// RFC 9568 §6.1: Skew_Time and Active_Down_Interval, to the nanosecond.
func TestFormulas(t *testing.T) {
	for _, tt := range []struct {
		priority   uint8
		active     time.Duration
		skew, down time.Duration
	}{
		{100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{254, time.Second, 7812500, 3007812500},
		{255, time.Second, 3906250, 3003906250},
		{1, time.Second, 996093750, 3996093750},
		// Divided first, these would all be 0 or 9 ms.
		{254, 10 * time.Millisecond, 78125, 30078125},
		{200, 10 * time.Millisecond, 2187500, 32187500},
		{1, 40950 * time.Millisecond, 40790039062, 163640039062},
	} {
		if got := skew(tt.priority, tt.active); got != tt.skew {
			t.Errorf("skew(%d, %v) = %d, want %d", tt.priority, tt.active, got, tt.skew)
		}
		if got := downInterval(tt.priority, tt.active); got != tt.down {
			t.Errorf("downInterval(%d, %v) = %d, want %d", tt.priority, tt.active, got, tt.down)
		}
	}
}

// RFC 9568 §6.4.1, an owner.
func TestOwnerStartsAsMaster(t *testing.T) {
	b := newBench(t, priority(255))
	b.step(input{kind: inStart})
	b.want(b.step(input{kind: inReady, from: lb1}),
		"send 255", "hold 10.0.0.88", "announce 10.0.0.88", "became master owner")
	b.deadline(b.m.advertAt, time.Second)
}

// RFC 9568 §6.4.1, any other; and §6.4.2, the down timer.
func TestSilenceMakesAMaster(t *testing.T) {
	b := backup(t)
	b.deadline(b.m.Deadline(), 3609375*time.Microsecond)
	// The advert first, then the addresses, then the neighbours.
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
	if b.m.detail != "no advertisement received for 3.609 s" {
		t.Errorf("reported as %q", b.m.detail)
	}
	b.deadline(b.m.advertAt, time.Second)
	if b.m.master != lb1 || b.m.masterPriority != 100 {
		t.Errorf("knows %v with %d as master", b.m.master, b.m.masterPriority)
	}
}

// RFC 9568 §6.4.2, one row a case.
func TestBackupHears(t *testing.T) {
	second, down := time.Second, downInterval(100, time.Second)
	for _, tt := range []struct {
		name     string
		change   func(*Config)
		priority uint8
		every    time.Duration
		wait     time.Duration // until the down timer, heard at 2 s
		active   time.Duration
	}{
		{"priority 0: the skew", nil, 0, second, skew(100, second), second},
		{"priority 0 teaches no interval", nil, 0, 5 * second, skew(100, second), second},
		{"higher: restart", nil, 101, second, down, second},
		{"equal: restart", nil, 100, second, down, second},
		{"an owner: restart", nil, 255, second, down, second},
		{"higher: learns a longer interval", nil, 200, 4 * second, downInterval(100, 4*second), 4 * second},
		{"higher: learns a shorter interval", nil, 200, second / 100, downInterval(100, second/100), second / 100},
		{"lower: discarded", nil, 99, second, down - 2*second, second},
		{"lower: teaches no interval", nil, 99, 4 * second, down - 2*second, second},
		{"lower without preemption: restart", noPreempt, 1, 2 * second, downInterval(100, 2*second), 2 * second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := backup(t)
			if tt.change != nil {
				b = backup(t, tt.change)
			}
			b.at(2 * second)
			b.want(b.advert(lb2, tt.priority, tt.every))
			b.state(Backup)
			b.deadline(b.m.Deadline(), tt.wait)
			if b.m.active != tt.active {
				t.Errorf("active interval %v, want %v", b.m.active, tt.active)
			}
			if p := b.m.snapshot(); p.master != lb2 || p.masterPriority != tt.priority {
				t.Errorf("shows %v with %d as master", p.master, p.masterPriority)
			}
		})
	}
}

func TestTakeoverReasons(t *testing.T) {
	b := backup(t)
	b.advert(lb2, 0)
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master resigned")

	b = backup(t)
	b.advert(lb2, 99)
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master preempt")

	// After its own takeover the interval is that of this director, not the learnt one.
	b = backup(t)
	b.advert(lb2, 200, 4*time.Second)
	b.run()
	b.deadline(b.m.advertAt, time.Second)
}

// RFC 9568 §6.4.3, one row a case.
func TestMasterHears(t *testing.T) {
	low, high := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("200.0.0.1")
	yields := func(reason string) []string { return []string{"send 100", "hold", "became backup " + reason} }
	for _, tt := range []struct {
		name     string
		from     netip.Addr
		priority uint8
		want     []string
	}{
		{"priority 0: advert at once", lb2, 0, []string{"send 100"}},
		{"higher", lb2, 101, yields("higher_priority")},
		{"higher from a smaller address", low, 101, yields("higher_priority")},
		{"equal from a greater address", lb2, 100, yields("higher_address")},
		// 200 is negative as a signed octet.
		{"equal from an address that is greater unsigned", high, 100, yields("higher_address")},
		{"equal from a smaller address: advert at once", low, 100, []string{"send 100"}},
		{"lower: advert at once", lb2, 99, []string{"send 100"}},
		{"lower from a greater address: advert at once", high, 1, []string{"send 100"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := master(t)
			b.now = b.now.Add(400 * time.Millisecond)
			b.want(b.advert(tt.from, tt.priority, 2*time.Second), tt.want...)
			if len(tt.want) == 1 {
				b.state(Master)
				b.deadline(b.m.advertAt, time.Second) // restarted
				if got, want := b.m.snapshot().conflict, tt.priority > 0; got != want {
					t.Errorf("contested: %v, want %v", got, want)
				}
				return
			}
			b.state(Backup)
			// With the interval of the new master.
			b.deadline(b.m.Deadline(), downInterval(100, 2*time.Second))
			if b.m.snapshot().conflict {
				t.Error("contested although it stepped back")
			}
		})
	}
}

// RFC 9568 §6.4.3: the advert timer; adverts keep their interval although timers are
// late, and missed ones are not sent after a pause.
func TestAdvertTimer(t *testing.T) {
	b := master(t)
	due := b.m.advertAt
	b.now = due.Add(30 * time.Millisecond)
	b.want(b.step(input{kind: inTick}), "send 100")
	if want := due.Add(time.Second); b.m.advertAt != want {
		t.Errorf("next %v after the late one, want %v", b.m.advertAt.Sub(b.now), want.Sub(b.now))
	}
	b.now = b.m.advertAt.Add(time.Hour)
	got := b.step(input{kind: inTick})
	if n := strings.Count(strings.Join(got, " "), "send"); n != 1 {
		t.Errorf("%d adverts after an hour's stop", n)
	}
	b.deadline(b.m.advertAt, time.Second)
}

// A timer that fired and was replaced meanwhile.
func TestStaleTickDoesNothing(t *testing.T) {
	b := backup(t)
	down := b.m.Deadline()
	b.at(3*time.Second).advert(lb2, 200)
	b.now = down
	b.want(b.step(input{kind: inTick}))
	b.state(Backup)
}

func TestShutdown(t *testing.T) {
	b := master(t)
	b.want(b.step(input{kind: inStop}), "send 0", "hold", "became init stop")
	b.answer()
	if !b.m.Deadline().IsZero() {
		t.Error("a timer is left")
	}
	b.want(b.step(input{kind: inReady, from: lb1}))
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}))
	b.want(b.advert(lb2, 1))

	b = backup(t)
	b.want(b.step(input{kind: inStop}), "hold", "became init stop")
}

func TestPreemptDelay(t *testing.T) {
	b := backup(t, preemptDelay(10*time.Second))
	for s := range 10 { // armed by the first, at 0 s
		b.at(time.Duration(s)*time.Second).advert(lb2, 50)
		b.deadline(b.m.Deadline(), downInterval(100, time.Second))
	}
	for s := 10; s < 13; s++ { // over: the timer of 9 s continues
		b.at(time.Duration(s)*time.Second).advert(lb2, 50)
	}
	b.run()
	b.state(Master)
	if got, want := b.now.Sub(b.start), 9*time.Second+downInterval(100, time.Second); got != want {
		t.Errorf("took over at %v, want %v", got, want)
	}
	if b.m.reason != ReasonPreempt {
		t.Errorf("because of %q", b.m.reason)
	}
}

func TestPreemptDelayIsCancelledByABetterMaster(t *testing.T) {
	b := backup(t, preemptDelay(10*time.Second))
	b.advert(lb2, 50)
	for s := 3; s < 12; s += 3 {
		b.at(time.Duration(s)*time.Second).advert(lb2, 150)
	}
	b.at(12*time.Second).advert(lb2, 50) // armed again
	b.deadline(b.m.Deadline(), downInterval(100, time.Second))
	for s := 13; s < 22; s++ {
		b.at(time.Duration(s)*time.Second).advert(lb2, 50)
		b.deadline(b.m.Deadline(), downInterval(100, time.Second))
	}
}

// The delay applies to a live master only: without adverts it takes over as usual.
func TestPreemptDelayDoesNotDelayATakeover(t *testing.T) {
	b := backup(t, preemptDelay(time.Hour))
	b.advert(lb2, 50)
	b.run()
	b.state(Master)
	if got := b.now.Sub(b.start); got != downInterval(100, time.Second) {
		t.Errorf("took over at %v", got)
	}
}

func TestLinkDownAndUp(t *testing.T) {
	b := master(t)
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown, detail: "eth0 has no carrier"}),
		"send 0", "hold", "became fault link_down")
	b.answer()
	if d := b.m.Deadline(); !d.IsZero() {
		t.Errorf("a timer is left: %v", d.Sub(b.now))
	}
	b.want(b.advert(lb2, 50))
	b.want(b.step(input{kind: inUnready, reason: ReasonNoInterface, detail: "gone"}))
	if p := b.m.snapshot(); p.reason != ReasonNoInterface || p.detail != "gone" {
		t.Errorf("shows %q %q", p.reason, p.detail)
	}
	b.now = b.now.Add(time.Hour)
	b.want(b.step(input{kind: inReady, from: lb2}), "became backup link_up")
	b.deadline(b.m.Deadline(), downInterval(100, time.Second))
	if b.m.source != lb2 {
		t.Error("the new address is not known")
	}

	b = backup(t)
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}), "hold", "became fault link_down")

	b = newBench(t)
	b.step(input{kind: inStart})
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}), "hold", "became fault link_down")
}

// A killed run's addresses are there at the start.
func leftover(t *testing.T, change ...func(*Config)) *bench {
	b := newBench(t, change...)
	b.want(b.step(input{kind: inStart, prefixes: []netip.Prefix{vip}}), "hold 10.0.0.88")
	b.want(b.answer())
	b.want(b.step(input{kind: inReady, from: lb1}), "became backup start")
	if !slices.Equal(b.m.snapshot().present, []netip.Prefix{vip}) {
		t.Error("the address is not shown")
	}
	return b
}

func TestLeftoverIsServedUntilItsOwnMastership(t *testing.T) {
	b := leftover(t)
	// The address is never removed in between.
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
}

// It takes over before the others time out; if one of them is master already its advert
// has arrived by then.
func TestLeftoverIsResumedAfterOneAdvert(t *testing.T) {
	skew := downInterval(100, time.Second) - 3*time.Second
	b := leftover(t)
	b.deadline(b.m.Deadline(), time.Second+skew)
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")

	b = leftover(t)
	b.advert(lb2, 100)
	b.deadline(b.m.Deadline(), downInterval(100, time.Second))

	b = leftover(t)
	b.advert(lb2, 1) // to be preempted, and no sooner than by any other
	b.deadline(b.m.Deadline(), downInterval(100, time.Second))

	b = newBench(t, func(c *Config) { c.Standby = true }) // after a manual handover
	b.step(input{kind: inStart, prefixes: []netip.Prefix{vip}})
	b.step(input{kind: inReady, from: lb1})
	b.deadline(b.m.Deadline(), 6*time.Second+downInterval(1, time.Second))

	b = leftover(t) // its earlier state does not count after a fault
	b.step(input{kind: inUnready, reason: ReasonLinkDown})
	b.step(input{kind: inReady, from: lb1})
	b.deadline(b.m.Deadline(), downInterval(100, time.Second))
}

func TestLeftoverGoesWithAnyMaster(t *testing.T) {
	for _, p := range []uint8{0, 1, 100, 200} {
		b := leftover(t)
		b.want(b.advert(lb2, p), "hold")
		b.answer()
		b.want(b.advert(lb2, p))
		b.state(Backup)
	}
	b := leftover(t, noPreempt)
	b.want(b.advert(lb2, 1), "hold")
}

func TestLeftoverGoesWithTheLinkAndTheStop(t *testing.T) {
	b := leftover(t)
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}), "hold", "became fault link_down")
	b = leftover(t)
	b.want(b.step(input{kind: inStop}), "hold", "became init stop")
}

// One of several addresses was left: the others are added with mastership only.
func TestLeftoverInPart(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Addresses = []netip.Prefix{vip, vip2}; c.Excluded = []netip.Prefix{extra} })
	b.want(b.step(input{kind: inStart, prefixes: []netip.Prefix{vip2, extra}}), "hold 10.0.0.89 192.0.2.1")
	b.step(input{kind: inReady, from: lb1})
	b.want(b.step(input{kind: inUpdate, config: config(func(c *Config) { c.Addresses = []netip.Prefix{vip, vip2} })}), "hold 10.0.0.89")
	b.want(b.run(), "send 100", "hold 10.0.0.88 10.0.0.89", "announce 10.0.0.88 10.0.0.89", "became master silence")
}

// RFC 9568 §6.4.2 (125) and its errata: at once, then repeated at a distance that
// neighbours accept, later rarely; never after mastership.
func TestAnnouncements(t *testing.T) {
	b := backup(t, interval(40*time.Second))
	b.advert(lb2, 90)
	b.run()
	began := b.now
	var at []time.Duration
	for b.now.Sub(began) < 200*time.Second {
		for _, a := range b.run() {
			if strings.HasPrefix(a, "announce") {
				at = append(at, b.now.Sub(began))
			}
		}
	}
	want := []time.Duration{announceGap, 2 * announceGap, 3 * announceGap, 4 * announceGap,
		4*announceGap + time.Minute, 4*announceGap + 2*time.Minute, 4*announceGap + 3*time.Minute}
	if !slices.Equal(at, want) {
		t.Errorf("announced at\n %v, want\n %v", at, want)
	}
	b.advert(lb2, 200)
	if !b.m.announceAt.IsZero() {
		t.Error("the announcements outlive mastership")
	}
}

// A losing master gave the neighbours a wrong entry: repeat, but not more often than
// they accept.
func TestLosingMasterStartsAnnouncementsOver(t *testing.T) {
	b := master(t)
	for range 5 {
		b.run()
		b.run()
	}
	b.now = b.now.Add(500 * time.Millisecond)
	for d := b.m.Deadline(); d.Before(b.now); d = b.m.Deadline() {
		b.step(input{kind: inTick})
	}
	b.m.announceLast = b.now.Add(-10 * time.Second)
	b.want(b.advert(lb2, 50), "send 100", "announce 10.0.0.88")
	for range 50 {
		b.now = b.now.Add(10 * time.Millisecond)
		b.advert(lb2, 50)
	}
	b.deadline(b.m.announceAt, announceGap-500*time.Millisecond)
}

// A master answers a flood of adverts that lose, of whatever senders, at a bounded rate,
// and each of them within a bounded time.
func TestAnswersAreBounded(t *testing.T) {
	const gap = time.Second / answersPerInterval
	for _, losing := range []uint8{0, 50} {
		b := master(t)
		answers := 0
		for i := range 10_000 {
			from := netip.AddrFrom4([4]byte{10, 0, 0, byte(20 + i%9)})
			n := strings.Count(strings.Join(b.advert(from, losing), "\n"), "send")
			switch wait := b.m.advertAt.Sub(b.now); {
			case i == 0 && n != 1:
				t.Errorf("priority %d: the first is not answered at once", losing)
			case n == 0 && wait > gap:
				t.Errorf("priority %d: it is answered %v later", losing, wait)
			}
			b.now = b.now.Add(time.Millisecond)
			for !b.m.Deadline().After(b.now) {
				n += strings.Count(strings.Join(b.step(input{kind: inTick}), "\n"), "send")
			}
			answers += n
		}
		if most := 10*answersPerInterval + 1; answers < most/2 || answers > most {
			t.Errorf("priority %d: %d answers in 10 s, want %d at most", losing, answers, most)
		}
	}
}

func TestContestedEndsAfterThreeIntervals(t *testing.T) {
	b := master(t)
	b.advert(lb2, 50)
	heard := b.now
	if p := b.m.snapshot(); !p.conflict || p.warning != "contested: 10.0.0.13 is also master, with priority 50" {
		t.Errorf("contested %v, %q", p.conflict, p.warning)
	}
	for b.m.snapshot().conflict {
		b.run()
	}
	if got := b.now.Sub(heard); got != 3*time.Second {
		t.Errorf("it ended after %v", got)
	}
	if a := b.m.snapshot().warning; a != "" {
		t.Errorf("alarm %q", a)
	}
}

func TestRefusedPeerContests(t *testing.T) {
	b := backup(t)
	b.want(b.step(input{kind: inDropped, from: lb2, detail: "an advert of 10.0.0.13 is refused: TTL"}))
	if !b.m.snapshot().conflict {
		t.Error("not contested")
	}
	b.at(time.Second)
	b.deadline(b.m.downAt, downInterval(100, time.Second)-time.Second) // nothing else
	b.run()                                                            // 3 s: it ends
	if b.m.snapshot().conflict {
		t.Error("contested for ever")
	}
}

// downInterval is Active_Down_Interval, RFC 9568 §6.1.
func downInterval(priority uint8, active time.Duration) time.Duration {
	return 3*active + skew(priority, active)
}

// A successor announces right after its advert, which may be read later, from another
// socket: a sighting announces nothing at once, and nothing at all if the advert follows.
func TestSuccessorIsNotAnnouncedAgainst(t *testing.T) {
	b := master(t)
	b.m.announceLast, b.m.announceAt, b.m.announceLeft = b.now.Add(-time.Minute), time.Time{}, 0
	b.want(b.step(input{kind: inSighting, holders: []Holder{{Address: vip.Addr()}}}))
	b.deadline(b.m.announceAt, sightedDelay)
	b.advert(lb2, 200)
	if b.m.state != Backup || !b.m.announceAt.IsZero() {
		t.Errorf("%v announces at %v", b.m.state, b.m.announceAt)
	}
}
