package fusedisk

// The kernel's protocol: include/uapi/linux/fuse.h. The layouts of requests and replies
// are where they are read and written.

import (
	"bytes"
	"errors"
)

const (
	headerLen = 40 // of a request
	replyLen  = 16 // of a reply's header
	rootNode  = 1
	maxWrite  = 128 << 10
)

// FUSE_…: what a request asks for.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opMkdir       = 9
	opUnlink      = 10
	opRmdir       = 11
	opRename      = 12
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opInit        = 26
	opOpenDir     = 27
	opReadDir     = 28
	opReleaseDir  = 29
	opFsyncDir    = 30
	opAccess      = 34
	opCreate      = 35
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42
	opRename2     = 45
)

const (
	getattrHandle = 1 << 0 // FUSE_GETATTR_FH
	setMode       = 1 << 0 // FATTR_MODE
	setSize       = 1 << 3 // FATTR_SIZE
	setHandle     = 1 << 6 // FATTR_FH
	openDirectIO  = 1 << 0 // FOPEN_DIRECT_IO
	openNoFlush   = 1 << 5 // FOPEN_NOFLUSH; older kernels learn it by ENOSYS to the first FUSE_FLUSH
)

var errNoReply = errors.New("a request without a reply")

// initReply is struct fuse_init_out of version 7.31.
func initReply() []byte {
	out := new(bytes.Buffer)
	put(out, uint32(7), uint32(31), uint32(0), uint32(0), uint16(16), uint16(12), uint32(maxWrite), uint32(1), [9]uint32{})
	return out.Bytes()
}
