package ipvs

import "net/netip"

// Internals for tests, which are outside the package because the fake kernel imports
// it.

const (
	DrainEvery    = drainCountInterval
	OriginsFresh  = originsFresh
	ConflictAfter = conflictAfter
)

var (
	ParseConnection = parseConnection
	SyncRoles       = syncRoles
)

func (o Owned) With(t Table) Owned                              { return o.with(t) }
func (o Owned) Has(k ServiceKey, a netip.AddrPort) bool         { return o.has(k, a) }
func (o Op) Entry() Entry                                       { return o.entry() }
func (s Service) SameSettings(t Service) bool                   { return s.sameSettings(t) }
func (c SyncConfig) For(role SyncRole, mtu int) SyncConfig      { return c.of(role, mtu) }
func (c SyncConfig) Differs(role SyncRole, d SyncDaemon) string { return c.differs(role, d) }
func (o Op) Value() string                                      { return o.value() }
func (s Snapshot) Reads() uint64                                { return s.reads }
