// Package wire sends and receives VRRP messages over IPv4 or IPv6, by multicast or
// unicast, through a raw socket bound to one interface. It does not look into the
// messages, except for the VRID that the kernel filters by.
//
//	Send ──► raw socket, or a frame from the virtual MAC address ──► LAN
//	LAN ──► kernel filter by VRID (demux) ──► Receive
package wire
