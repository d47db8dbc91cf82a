// Package packaging tests the installed lvsd: Debian and RPM packages, the unit under
// a real systemd, and what a daemon that was killed leaves behind.
package packaging
