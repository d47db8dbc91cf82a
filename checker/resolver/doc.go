// Package resolver looks up host names in the background, so that no probe waits
// for a name server: a probe uses the addresses that are cached. While lookups fail,
// the old addresses stay in use.
//
//	probe ─► Addresses: from the cache, at once
//	             ▲
//	timer ─► name server, in the background
package resolver
