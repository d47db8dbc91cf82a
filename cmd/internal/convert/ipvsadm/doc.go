// Package ipvsadm converts a table saved by `ipvsadm -S`, with or without -n. Such a
// table has neither checks nor VRRP instances: servers count as up until checks are added.
package ipvsadm
