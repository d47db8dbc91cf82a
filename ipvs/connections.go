// The kernel's list of connections: which service and destination each belongs to,
// its state, and whether it came from the peer. It is read line by line and not kept.

package ipvs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Connection is one entry of the kernel's connection table.
type Connection struct {
	Protocol        string // "TCP", "UDP", "SCTP"; "IP" for the template of a mark
	Client, Virtual netip.AddrPort
	RealServer      netip.AddrPort
	State           string // "ESTABLISHED", "FIN_WAIT", "UDP", "NONE" for a persistence template …
	Synced          bool   // received from the peer
	Expires         time.Duration
}

// parseConnection reads a line of /proc/net/ip_vs_conn_sync:
//
//	TCP 0A000002 C350 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL      899
//
// ok is false for the heading and for lines of another form.
func parseConnection(line []byte) (c Connection, ok bool) {
	var f [10][]byte
	n := 0
	for part := range bytes.FieldsSeq(line) {
		if n == len(f) {
			return c, false
		}
		f[n] = part
		n++
	}
	if n != len(f) {
		return c, false
	}
	seconds, err := strconv.Atoi(string(f[9]))
	if err != nil {
		return c, false
	}
	if c.Client, ok = hexAddrPort(f[1], f[2]); !ok {
		return c, false
	}
	if c.Virtual, ok = hexAddrPort(f[3], f[4]); !ok {
		return c, false
	}
	if c.RealServer, ok = hexAddrPort(f[5], f[6]); !ok {
		return c, false
	}
	c.Protocol, c.State, c.Synced = string(f[0]), string(f[7]), string(f[8]) == "SYNC"
	c.Expires = time.Duration(seconds) * time.Second
	return c, true
}

// hexAddrPort parses an address, of IPv4 in eight hexadecimal digits or of IPv6 with
// colons, and a port in four hexadecimal digits.
func hexAddrPort(addr, port []byte) (a netip.AddrPort, ok bool) {
	var b [4]byte
	if len(port) != 4 {
		return a, false
	}
	if _, err := hex.Decode(b[:2], port); err != nil {
		return a, false
	}
	p := uint16(b[0])<<8 | uint16(b[1])
	if len(addr) == 8 {
		if _, err := hex.Decode(b[:], addr); err != nil {
			return a, false
		}
		return netip.AddrPortFrom(netip.AddrFrom4(b), p), true
	}
	ip, err := netip.ParseAddr(string(bytes.Trim(addr, "[]")))
	return netip.AddrPortFrom(ip, p), err == nil && ip.Is6()
}

// Bounds of a reading of the connections. A line costs the kernel about a
// microsecond, during which it holds a lock of its table.
const (
	maxOrigins   = 200_000
	maxLine      = 1 << 10
	originsFresh = 5 * time.Second
)

// scanLines calls each for up to limit lines after the heading, until it returns
// false. It reports whether there were more.
func scanLines(ctx context.Context, r io.Reader, limit int, each func([]byte) bool) (more bool, err error) {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), 64<<10)
	scan.Scan() // the heading
	for n := 0; scan.Scan(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return true, ctx.Err()
		}
		if n == limit {
			return true, nil
		}
		if len(scan.Bytes()) > maxLine {
			continue
		}
		if !each(scan.Bytes()) {
			return true, nil
		}
	}
	return false, scan.Err()
}

// ScanConnections calls each for the connections of a list that OpenConnections
// opened, in its order, until each returns false, limit lines were read or ctx
// ends. It reports whether there were more lines. Lines that cannot be parsed are
// skipped.
func ScanConnections(ctx context.Context, list io.Reader, limit int, each func(Connection) bool) (more bool, err error) {
	return scanLines(ctx, list, limit, func(line []byte) bool {
		c, ok := parseConnection(line)
		return !ok || each(c)
	})
}

// Connections calls each for the connections of one service, or of all with nil,
// until it returns false, limit lines of the kernel's list were read, or ctx ends. It
// reports whether there were more lines. The list has no order.
//
// The list does not contain firewall marks: of a service by mark only the persistence
// templates can be identified.
func (r *Reconciler) Connections(ctx context.Context, k *ServiceKey, limit int, each func(Connection) bool) (more bool, err error) {
	var allPorts func(Connection) bool
	if k != nil && k.Mark == 0 && k.Address.Port() == 0 {
		// A service of all ports has the connections that no other service has.
		table := r.Snapshot().Table
		allPorts = func(c Connection) bool {
			_, other := table[ServiceKey{Protocol: k.Protocol, Address: c.Virtual}]
			return c.Virtual.Port() == 0 || !other
		}
	}
	list, err := r.k.OpenConnections()
	if err != nil {
		return false, fmt.Errorf("failed to open the list of connections: %w", err)
	}
	defer list.Close()
	return ScanConnections(ctx, list, limit, func(c Connection) bool {
		return k != nil && !c.belongsTo(*k, allPorts) || each(c)
	})
}

// belongsTo reports whether the connection is one of the service.
func (c Connection) belongsTo(k ServiceKey, allPorts func(Connection) bool) bool {
	if k.Mark != 0 {
		return c.Protocol == "IP" && c.Virtual.Addr() == markAddress(k)
	}
	if c.Protocol != protocolNames[k.Protocol] || c.Virtual.Addr() != k.Address.Addr() {
		return false
	}
	if allPorts != nil {
		return allPorts(c)
	}
	return c.Virtual.Port() == k.Address.Port()
}

var protocolNames = map[Protocol]string{TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}

// markAddress returns the virtual address of the templates of a mark
// (ip_vs_sched_persist in net/netfilter/ipvs/ip_vs_core.c).
func markAddress(k ServiceKey) netip.Addr {
	b := [4]byte{byte(k.Mark >> 24), byte(k.Mark >> 16), byte(k.Mark >> 8), byte(k.Mark)}
	if !k.IPv6 {
		return netip.AddrFrom4(b)
	}
	var six [16]byte
	copy(six[12:], b[:])
	return netip.AddrFrom16(six)
}

// Origins counts the kernel's connections by where they come from, persistence templates
// included.
type Origins struct {
	Local, Synced int // began here; received from the peer
	// Foreign are those of Synced that lead to no real server which the kernel's table
	// has, should have or had within a day. The messages of the connection
	// synchronisation are not authenticated: any host on its network may have sent them.
	Foreign int
	Example Connection // one of Foreign
}

// connectionOrigins is the last result of ConnectionOrigins, and the real servers of a
// day.
type connectionOrigins struct {
	sync.Mutex
	at      time.Time
	last    Origins
	servers map[netip.Addr]time.Time // when it was in a table last
}

// serverMemory is how long connections may lead to a server that left the table. They
// expire by the kernel's timeouts, templates by the persistence of their service.
const serverMemory = 24 * time.Hour

// remember adds the real servers of a table, and forgets those of yesterday.
func (o *connectionOrigins) remember(now time.Time, tables ...Table) {
	if o.servers == nil {
		o.servers = map[netip.Addr]time.Time{}
	}
	for _, t := range tables {
		for _, s := range t {
			for a := range s.Destinations {
				o.servers[a.Addr()] = now
			}
		}
	}
	maps.DeleteFunc(o.servers, func(_ netip.Addr, last time.Time) bool { return now.Sub(last) > serverMemory })
}

// ConnectionOrigins counts the connections. It counts the first 200,000 of the list, and
// returns the same result for 5 seconds.
func (r *Reconciler) ConnectionOrigins(ctx context.Context) (Origins, error) {
	r.mu.Lock()
	desired := r.desired.Table
	r.mu.Unlock()
	r.origins.Lock()
	defer r.origins.Unlock()
	now := time.Now()
	if !r.origins.at.IsZero() && now.Sub(r.origins.at) < originsFresh {
		return r.origins.last, nil
	}
	kernel := r.Snapshot()
	r.origins.remember(now, kernel.Table, desired)
	list, err := r.k.OpenConnections()
	if err != nil {
		return Origins{}, fmt.Errorf("failed to open the list of connections: %w", err)
	}
	defer list.Close()
	var o Origins
	if _, err = scanLines(ctx, list, maxOrigins, func(line []byte) bool {
		switch {
		case bytes.Contains(line, []byte(" LOCAL ")):
			o.Local++
		case bytes.Contains(line, []byte(" SYNC ")):
			o.Synced++
			c, ok := parseConnection(line)
			if _, known := r.origins.servers[c.RealServer.Addr()]; ok && !known && kernel.Valid {
				o.Foreign, o.Example = o.Foreign+1, c
			}
		}
		return true
	}); err != nil {
		return o, fmt.Errorf("failed to read the list of connections: %w", err)
	}
	r.origins.at, r.origins.last = now, o
	return o, nil
}

// Zero sets the counters of a desired service to 0, or of all desired services with
// nil. Numbers of active connections are not counters and stay.
func (r *Reconciler) Zero(ctx context.Context, k *ServiceKey) error {
	r.mu.Lock()
	table := r.desired.Table
	r.mu.Unlock()
	keys := table.Keys()
	if k != nil {
		if _, ours := table[*k]; !ours {
			return fmt.Errorf("no service %s in the configuration", k)
		}
		keys = []ServiceKey{*k}
	}
	defer r.requestRead() // so that the next snapshot has it
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.k.Zero(&k); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}
