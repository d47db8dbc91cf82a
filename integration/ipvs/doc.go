// Package ipvs tests what lvsd writes into the IPVS table of a real kernel, and that
// connections are balanced by it: forwarding methods, schedulers, marks, address
// families, connection synchronisation, restarts. Some tests run package ipvs itself
// in a network namespace, to compare its fake kernel with the real one.
package ipvs
