// Package filewatch reports when a file may have changed: written, replaced by
// rename, or reached through a symbolic link that was changed. It watches folders,
// because a replaced file takes its watch with it, and does not read the file.
package filewatch
