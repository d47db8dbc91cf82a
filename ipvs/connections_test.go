package ipvs_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// As printed by Linux 6.1; the address of a mark's template is the mark.
const connectionList = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP 0A000002 C350 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL      899
TCP 0A000002 C351 0A000058 0050 0A00000A 0050 FIN_WAIT    SYNC       119
TCP 0A000002 C352 0A000058 0051 0A00000A 0051 ESTABLISHED SYNC       119
UDP 0A000002 C350 0A000058 0050 0A000009 0050 UDP         LOCAL      299
TCP 0A000002 0000 0A000058 0050 0A000009 0050 NONE        LOCAL      300
IP  0A000002 0000 00000007 0000 0A000009 0000 NONE        LOCAL      300
TCP 2001:0db8:0000:0000:0000:0000:0000:0002 C350 2001:0db8:0000:0000:0000:0000:0000:0088 0050 2001:0db8:0000:0000:0000:0000:0000:0009 0050 ESTABLISHED LOCAL      899
`

func TestConnections(t *testing.T) {
	six := key("[2001:db8::88]:80")
	all := key("10.0.0.88:0")
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.k.SetConnections(connectionList)
		b.want(service(web), service(all))
		for _, c := range []struct {
			key   *ServiceKey
			limit int
			want  string
			more  bool
		}{
			{&web, 100, "10.0.0.2:50000 ESTABLISHED 10.0.0.9:80, 10.0.0.2:50001 FIN_WAIT 10.0.0.10:80, 10.0.0.2:0 NONE 10.0.0.9:80", false},
			{&web, 2, "10.0.0.2:50000 ESTABLISHED 10.0.0.9:80, 10.0.0.2:50001 FIN_WAIT 10.0.0.10:80", true},
			{&six, 100, "[2001:db8::2]:50000 ESTABLISHED [2001:db8::9]:80", false},
			{&all, 100, "10.0.0.2:50002 ESTABLISHED 10.0.0.10:81", false},
			{&ServiceKey{Mark: 7}, 100, "10.0.0.2:0 NONE 10.0.0.9:0", false},
			{&ServiceKey{Mark: 8}, 100, "", false},
			{nil, 100, "10.0.0.2:50000 ESTABLISHED 10.0.0.9:80, 10.0.0.2:50001 FIN_WAIT 10.0.0.10:80, 10.0.0.2:50002 ESTABLISHED 10.0.0.10:81, 10.0.0.2:50000 UDP 10.0.0.9:80, 10.0.0.2:0 NONE 10.0.0.9:80, 10.0.0.2:0 NONE 10.0.0.9:0, [2001:db8::2]:50000 ESTABLISHED [2001:db8::9]:80", false},
		} {
			var got []string
			more, err := b.r.Connections(b.t.Context(), c.key, c.limit, func(c Connection) bool {
				got = append(got, fmt.Sprintf("%v %s %v", c.Client, c.State, c.RealServer))
				return true
			})
			if s := strings.Join(got, ", "); err != nil || s != c.want || more != c.more {
				t.Errorf("%v: %v, more %v\ngot  %s\nwant %s", c.key, err, more, s, c.want)
			}
		}
		ended, cancel := context.WithCancel(b.t.Context())
		cancel()
		if more, err := b.r.Connections(ended, nil, 100, func(Connection) bool { t.Error("went on"); return true }); err == nil || !more {
			t.Error(more, err)
		}
		o, err := b.r.ConnectionOrigins(b.t.Context())
		if o.Local != 5 || o.Synced != 2 || err != nil {
			t.Error(o, err)
		}
		b.k.SetConnections("")
		if o, _ := b.r.ConnectionOrigins(b.t.Context()); o.Local != 5 || o.Synced != 2 {
			t.Error("counted again at once")
		}
		time.Sleep(OriginsFresh)
		if o, _ := b.r.ConnectionOrigins(b.t.Context()); o.Local != 0 || o.Synced != 0 {
			t.Error("never counted again")
		}
	})
}

// TestForeignConnections: entries from the network that lead to a server which no service
// has are counted; those of a server that left the table are not, for a day.
func TestForeignConnections(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.k.SetConnections(connectionList)
		servers := []Destination{{Address: netip.MustParseAddrPort("10.0.0.9:80"), Weight: 1}, {Address: netip.MustParseAddrPort("10.0.0.10:80"), Weight: 1}}
		count := func(want int) Origins {
			b.t.Helper()
			time.Sleep(OriginsFresh)
			o, err := b.r.ConnectionOrigins(b.t.Context())
			if err != nil || o.Foreign != want {
				b.t.Errorf("%d of %d are foreign, want %d (%v)", o.Foreign, o.Synced, want, err)
			}
			return o
		}
		b.want(service(web, servers[0]))
		if o := count(2); o.Example.RealServer.Addr() != servers[1].Address.Addr() || o.Example.Client.Port() == 0 {
			b.t.Errorf("example %+v", o.Example)
		}
		b.want(service(web, servers...))
		count(0)
		b.want(service(web, servers[0]))
		time.Sleep(23 * time.Hour)
		count(0)
		time.Sleep(2 * time.Hour)
		count(2)
	})
}

func FuzzConnection(f *testing.F) {
	for line := range strings.Lines(connectionList) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if c, ok := ParseConnection(line); ok && (!c.Client.IsValid() || !c.RealServer.IsValid()) {
			t.Errorf("%q: %+v", line, c)
		}
	})
}

func TestZeroIsForOurServicesOnly(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.k.Change(func(t Table) { t[mail] = service(mail, dest(1, 1)) })
		b.want(service(web, dest(1, 1)))
		for _, k := range []ServiceKey{web, mail} {
			b.k.SetStats(k, ServiceStats{Counters: Counters{Connections: 7}, Destinations: map[netip.AddrPort]DestinationStats{dest(1, 1).Address: {Active: 2, Counters: Counters{BytesIn: 9}}}})
		}
		if err := b.r.Zero(b.t.Context(), &mail); err == nil {
			t.Error("zeroed another program's service")
		}
		if err := b.r.Zero(b.t.Context(), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s := b.r.Snapshot().Stats
		if s[web].Connections != 0 || s[web].Destinations[dest(1, 1).Address] != (DestinationStats{Active: 2}) || s[mail].Connections != 7 {
			t.Errorf("%+v", s)
		}
	})
}
