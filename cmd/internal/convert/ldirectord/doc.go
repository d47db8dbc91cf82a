// Package ldirectord converts ldirectord.cf. The source is ldirectord(8) of version
// 4.12, and the behaviour of that version where the two differ: without quiescent = yes
// a failed server is removed.
//
// ldirectord has no VRRP, so the result has no [[vrrp]].
package ldirectord
