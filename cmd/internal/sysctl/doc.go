// Package sysctl reads and writes kernel settings by the names of sysctl(8).
//
// Who overrides a setting for a while restores it, and each at its own time: vrrp/link
// while an instance runs, host while the configuration has mark probes, also over a
// crash, realserver until `lvsd realserver down`. The last two write down the value before
// they change it.
package sysctl
