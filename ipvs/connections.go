// The kernel's list of connections, read line by line: which service and server
// each belongs to, its state, and which director made it. It keeps none of them.

package ipvs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// Connection is one entry of the kernel's connection table.
type Connection struct {
	Protocol        string // "TCP", "UDP", "SCTP"; "IP" for the template of a mark
	Client, Virtual netip.AddrPort
	RealServer      netip.AddrPort
	State           string // "ESTABLISHED", "FIN_WAIT", "UDP", "NONE" for a persistence template …
	Synced          bool   // it came from the peer
	Expires         time.Duration
}

// parseConnection reads a line of /proc/net/ip_vs_conn_sync:
//
//	TCP 0A000002 C350 0A000058 0050 0A000009 0050 ESTABLISHED LOCAL      899
//
// The second result is false for the heading and what can't be read.
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

// hexAddrPort reads an address, IPv4 as eight digits or IPv6 with colons, and a
// port of four digits.
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

// Bounds of a look at the connections. A line costs the kernel about a
// microsecond, and it holds a lock of its table by turns.
const (
	maxOrigins   = 200_000
	maxLine      = 1 << 10
	originsFresh = 5 * time.Second
)

// scanLines calls each for at most limit lines but the first, until it answers
// false. It says whether there were more.
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

// Connections calls each for the connections of one service, with nil of all,
// until it answers false, at most limit lines of the kernel's list were read, or
// ctx ends. It says whether the list was longer than what was read: then what
// was seen is the beginning of a list in no order.
//
// The kernel does not say of a connection which mark it came by: of a service by
// mark only the persistence templates can be told.
func (r *Reconciler) Connections(ctx context.Context, k *ServiceKey, limit int, each func(Connection) bool) (more bool, err error) {
	var allPorts func(Connection) bool
	if k != nil && k.Mark == 0 && k.Address.Port() == 0 {
		// A service of all ports has those that no other service has.
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

// belongsTo says whether the connection is one of the service.
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

// markAddress is where a mark's templates have the mark (ip_vs_sched_persist).
func markAddress(k ServiceKey) netip.Addr {
	b := [4]byte{byte(k.Mark >> 24), byte(k.Mark >> 16), byte(k.Mark >> 8), byte(k.Mark)}
	if !k.IPv6 {
		return netip.AddrFrom4(b)
	}
	var six [16]byte
	copy(six[12:], b[:])
	return netip.AddrFrom16(six)
}

// ConnectionOrigins counts the connections that began here and those that came from the
// peer, persistence templates included. Of a long list it counts the first
// 200,000, and an answer is good for 5 seconds.
func (r *Reconciler) ConnectionOrigins(ctx context.Context) (own, synced int, err error) {
	r.origins.Lock()
	defer r.origins.Unlock()
	if !r.origins.at.IsZero() && time.Since(r.origins.at) < originsFresh {
		return r.origins.own, r.origins.synced, nil
	}
	list, err := r.k.OpenConnections()
	if err != nil {
		return 0, 0, fmt.Errorf("failed to open the list of connections: %w", err)
	}
	defer list.Close()
	if _, err = scanLines(ctx, list, maxOrigins, func(line []byte) bool {
		switch {
		case bytes.Contains(line, []byte(" LOCAL ")):
			own++
		case bytes.Contains(line, []byte(" SYNC ")):
			synced++
		}
		return true
	}); err != nil {
		return own, synced, fmt.Errorf("failed to read the list of connections: %w", err)
	}
	r.origins.at, r.origins.own, r.origins.synced = time.Now(), own, synced
	return own, synced, nil
}

// Zero sets the counters of a service of the wish to 0, with nil those of all of
// them, and of no other service. Connection counts are no counters.
func (r *Reconciler) Zero(ctx context.Context, k *ServiceKey) error {
	r.mu.Lock()
	wish := r.desired
	r.mu.Unlock()
	keys := wish.Table.Keys()
	if k != nil {
		if _, ours := wish.Table[*k]; !ours {
			return fmt.Errorf("no service %s in the configuration", k)
		}
		keys = []ServiceKey{*k}
	}
	defer func() { // so that the next snapshot shows it
		r.mu.Lock()
		r.refresh = true
		r.mu.Unlock()
		r.wakeRun()
	}()
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
