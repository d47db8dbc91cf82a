// Package realserver sets this host up as a real server for direct routing or
// tunnels, and undoes that. It records every change before it is made, so that the
// previous settings can be restored after a crash at any point.
//
//	VIP, method ─► steps (address, device, sysctls) ─► record ─► kernel
//	down        ─► record ─► steps backwards ─► kernel
package realserver
