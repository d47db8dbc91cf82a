// Package persist has the files under state_dir: what outlives the daemon.
//
//	lock           held while a daemon runs
//	owned          the IPVS entries that lvsd wrote; written before the kernel is
//	addresses      what the VRRP instances may have put on interfaces, for `lvsd cleanup`
//	decision       the last decision: causes with their age, slow start, damping
//	standby        instances on standby after a handover
//	sysctls        kernel settings as they were before lvsd changed them, of this boot
//	running.toml   the last good configuration, with a checksum
//
// A file is replaced as a whole: a crash at any moment leaves the old or the new one. One
// that does not parse is reported and renamed to *.bad where it is rewritten. The package
// decides nothing.
package persist
