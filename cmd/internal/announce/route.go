package announce

import (
	"cmp"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Protocol marks our routes (rtm_protocol in struct rtmsg, linux/rtnetlink.h). No routing
// daemon uses it; 112 marks the routes that move with addresses of VRRP.
const Protocol = 113

// localTable is the table whose routes make this host accept addresses.
const localTable = unix.RT_TABLE_LOCAL

// Route is a route in one of the kernel's routing tables, out of the loopback interface.
type Route struct {
	Table  int // 255 is local; a route there makes this host accept the address
	Prefix netip.Prefix
	Metric uint32 // RTA_PRIORITY; 0 in table local
}

// local returns the route that makes this host accept an address.
func local(a netip.Addr) Route {
	return Route{Table: localTable, Prefix: netip.PrefixFrom(a, a.BitLen())}
}

// announced returns the route that a routing daemon announces.
func announced(table int, a netip.Addr, metric uint32) Route {
	return Route{Table: table, Prefix: netip.PrefixFrom(a, a.BitLen()), Metric: metric}
}

// LocalKey identifies the route that makes this host accept an address.
func LocalKey(a netip.Addr) Key { return Key{Table: localTable, Address: a} }

// isLocal reports whether the route makes this host accept its address.
func (r Route) isLocal() bool { return r.Table == localTable }

// String returns the route in the syntax of ip-route(8).
func (r Route) String() string {
	if r.isLocal() {
		return "local " + r.Prefix.Addr().String()
	}
	return fmt.Sprintf("%s table %d metric %d", r.Prefix, r.Table, r.Metric)
}

// compare orders routes: by table, address and metric.
func (r Route) compare(o Route) int {
	return cmp.Or(cmp.Compare(r.Table, o.Table), r.Prefix.Addr().Compare(o.Prefix.Addr()), cmp.Compare(r.Metric, o.Metric))
}

// Reading is what the kernel's tables have.
type Reading struct {
	Ours []Route // with our protocol, in any table
	// Foreign are the routes of others in the tables that were asked for.
	Foreign []ForeignRoute
}

// ForeignRoute is a route that another process added.
type ForeignRoute struct {
	Route
	Protocol int // rtm_protocol
}

// Kernel is the routing tables of a network namespace. Errors wrap the kernel's errno:
// EEXIST where any route to the same prefix with the same metric is in the table, ESRCH
// where there is none to delete.
type Kernel interface {
	// Read reads our routes in all tables, and those of others in the tables named.
	Read(tables []int) (Reading, error)
	Add(Route) error
	Delete(Route) error
	// Addresses returns the addresses of all interfaces, by address.
	Addresses() (map[netip.Addr]string, error)
	// Watch calls changed after routes changed, until the returned function is called.
	// Notifications may be lost.
	Watch(changed func(table int)) (stop func(), err error)
	Close()
}
