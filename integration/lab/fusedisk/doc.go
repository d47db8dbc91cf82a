// Package fusedisk is a disk that can stop replying, or reply with errors, while programs
// use it: a FUSE file system that passes everything on to a folder.
package fusedisk
