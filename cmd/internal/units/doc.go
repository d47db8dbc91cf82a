// Package units installs the systemd units by which settings of this host outlive a boot:
// they run at each boot the command that makes the settings.
//
// The packages bring the same files. Where they are not installed, the units are written
// into /etc/systemd/system, for the program that runs now.
package units
