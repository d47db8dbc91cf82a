// Package debian fetches packages of any Debian release and unpacks them into a folder.
// apt does it with sources, lists and a cache of its own, so that nothing of this
// machine's package management changes; root is not needed.
package debian
