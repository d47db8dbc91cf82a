package fusedisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// Disk is a mounted file system. The process that mounts it serves it, and must not use
// the mounted folder itself while it hangs.
type Disk struct {
	folder string // where it is mounted
	dev    int    // /dev/fuse
	served chan struct{}

	gate  sync.Mutex // held while it hangs, and while a request is carried out
	mu    sync.Mutex
	hangs bool
	fail  atomic.Uint32 // see Fail

	// The rest belongs to the goroutine that serves.
	nodes   map[uint64]string // paths in the backing folder
	handles map[uint64]handle
	next    uint64 // the next handle
}

// handle is an open file, or the entries of an open folder.
type handle struct {
	file    *os.File
	entries []os.DirEntry
}

// New mounts a disk at a folder, which does not exist yet, until the test ends. Where
// FUSE cannot be mounted the test is skipped as [lab.Require] says.
func New(t testing.TB, folder string) *Disk {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := mount(folder, t.TempDir())
	lab.Require(t, err)
	t.Cleanup(func() { _ = d.unmount() })
	return d
}

// mount mounts the files of backing, an existing folder, on folder, another one.
func mount(folder, backing string) (*Disk, error) {
	const name, flags = "/dev/fuse", unix.O_RDWR | unix.O_NONBLOCK | unix.O_CLOEXEC
	dev, err := unix.Open(name, flags, 0)
	if errors.Is(err, unix.ENOENT) && exec.Command("modprobe", "-q", "fuse").Run() == nil {
		dev, err = unix.Open(name, flags, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev)
	if err := unix.Mount("fusedisk", folder, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(dev)
		return nil, fmt.Errorf("failed to mount %s: %w", folder, err)
	}
	d := &Disk{folder: folder, dev: dev, served: make(chan struct{}), nodes: map[uint64]string{rootNode: backing}, handles: map[uint64]handle{}, next: 1}
	go d.serve()
	if err := d.refusePoll(); err != nil {
		_ = d.unmount()
		return nil, err
	}
	return d, nil
}

// refusePoll makes the kernel see that there is no FUSE_POLL. Else Go's first epoll_ctl of
// a file waits for a reply, and holds the processor that this process may need to send it.
func (d *Disk) refusePoll() error {
	name := filepath.Join(d.folder, ".poll")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("failed to make a file in %s: %w", d.folder, err)
	}
	defer unix.Close(fd)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return unix.Unlink(name)
}

// Hang makes the disk reply to no request until Resume. Programs that use it wait; SIGKILL
// ends them.
func (d *Disk) Hang() { d.setHangs(true) }

// Resume ends Hang.
func (d *Disk) Resume() { d.setHangs(false) }

func (d *Disk) setHangs(hangs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case hangs && !d.hangs:
		d.gate.Lock()
	case !hangs && d.hangs:
		d.gate.Unlock()
	}
	d.hangs = hangs
}

// Fail makes requests fail with an error, or none with 0: with ENOSPC and EROFS those that
// write, with others, such as EIO, all.
func (d *Disk) Fail(e unix.Errno) {
	d.fail.Store(uint32(e))
}

// unmount ends the file system. Programs that have files of it open get errors.
func (d *Disk) unmount() error {
	d.Resume()
	// The end of the mount ends the reads of the device, unless a file is still open.
	err := unix.Unmount(d.folder, unix.MNT_DETACH|unix.MNT_FORCE)
	<-d.served
	return err
}

// serve replies to requests until the file system is unmounted.
func (d *Disk) serve() {
	defer close(d.served)
	defer unix.Close(d.dev)
	request := make([]byte, maxWrite+4096)
	for {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d.dev), Events: unix.POLLIN}}, -1)
		// While the disk hangs the kernel keeps the requests: no signal ends a program
		// whose request was read.
		d.gate.Lock()
		err := d.serveOne(request)
		d.gate.Unlock()
		if errors.Is(err, unix.ENODEV) {
			return // unmounted
		}
	}
}

// serveOne reads a request, if there is one, and replies.
func (d *Disk) serveOne(request []byte) error {
	n, err := unix.Read(d.dev, request)
	if err != nil {
		return err // EAGAIN, and ENOENT where the request was interrupted
	}
	reply, err := d.handle(request[:n])
	if err == errNoReply {
		return nil
	}
	var code unix.Errno
	if err != nil && !errors.As(err, &code) {
		code = unix.EIO
	}
	out := new(bytes.Buffer)
	put(out, uint32(replyLen+len(reply)), -int32(code), request[8:16])
	out.Write(reply)
	_, _ = unix.Write(d.dev, out.Bytes()) // ENOENT: no program waits for it any more
	return nil
}

// put appends fixed-size values in the byte order of the machine, as the kernel wants.
func put(out *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(out, binary.NativeEndian, v)
	}
}

// in reads the fields of a request.
type in []byte

func (b in) u32(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func (b in) u64(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }

// names are the strings from an offset on, each ended by a 0.
func (b in) names(at int) []string {
	var all []string
	for _, name := range bytes.Split(bytes.TrimSuffix(b[at:], []byte{0}), []byte{0}) {
		all = append(all, string(name))
	}
	return all
}

// handle carries a request out and returns the reply's body.
func (d *Disk) handle(request []byte) ([]byte, error) {
	op, node, body := in(request).u32(4), in(request).u64(16), in(request[headerLen:])
	fail := unix.Errno(d.fail.Load())
	switch op {
	case opInit:
		return initReply(), nil
	case opForget, opBatchForget, opInterrupt:
		return nil, errNoReply
	case opRelease, opReleaseDir:
		d.close(body.u64(0))
		return nil, nil
	case opDestroy:
		return nil, nil
	}
	if fail != 0 && (fail != unix.ENOSPC && fail != unix.EROFS || writes(op, body)) {
		return nil, fail
	}
	path, known := d.nodes[node]
	if !known {
		return nil, unix.ESTALE
	}
	child := func(at int) string { return filepath.Join(path, body.names(at)[0]) }
	switch op {
	case opLookup:
		return d.entry(child(0))
	case opGetattr:
		return d.attributes(path, body.u32(0)&getattrHandle != 0, body.u64(8))
	case opSetattr:
		if err := d.setattr(path, body); err != nil {
			return nil, err
		}
		return d.attributes(path, body.u32(0)&setHandle != 0, body.u64(8))
	case opMkdir:
		if err := unix.Mkdir(child(8), body.u32(0)); err != nil {
			return nil, err
		}
		return d.entry(child(8))
	case opUnlink:
		return nil, unix.Unlink(child(0))
	case opRmdir:
		return nil, unix.Rmdir(child(0))
	case opRename:
		return nil, d.rename(path, body.u64(0), body.names(8))
	case opRename2:
		if body.u32(8) != 0 {
			return nil, unix.EINVAL
		}
		return nil, d.rename(path, body.u64(0), body.names(16))
	case opCreate:
		opened, err := d.open(child(16), int(body.u32(0))|unix.O_CREAT, body.u32(4))
		if err != nil {
			return nil, err
		}
		entry, err := d.entry(child(16))
		return append(entry, opened...), err
	case opOpen:
		return d.open(path, int(body.u32(0)), 0)
	case opOpenDir:
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		return d.opened(handle{entries: entries}), nil
	case opReadDir:
		return d.readDir(body)
	case opRead:
		return d.read(body)
	case opWrite:
		return d.write(body)
	case opFsync:
		return nil, d.handles[body.u64(0)].file.Sync()
	case opFsyncDir, opAccess:
		return nil, nil
	case opStatfs:
		return d.statfs()
	}
	return nil, unix.ENOSYS
}

// writes reports whether a request changes what is on the disk.
func writes(op uint32, body in) bool {
	switch op {
	case opSetattr, opMkdir, opUnlink, opRmdir, opRename, opRename2, opCreate, opWrite:
		return true
	}
	return op == opOpen && body.u32(0)&unix.O_ACCMODE != unix.O_RDONLY
}

// entry is the reply that names a file and makes its node known.
func (d *Disk) entry(path string) ([]byte, error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return nil, err
	}
	d.nodes[s.Ino] = path
	out := new(bytes.Buffer)
	// Node, generation, and validity times of 0, so that the kernel caches nothing.
	put(out, s.Ino, uint64(0), uint64(0), uint64(0), uint32(0), uint32(0))
	putAttributes(out, &s)
	return out.Bytes(), nil
}

func (d *Disk) attributes(path string, byHandle bool, h uint64) ([]byte, error) {
	var s unix.Stat_t
	var err error
	if file := d.handles[h].file; byHandle && file != nil {
		err = unix.Fstat(int(file.Fd()), &s)
	} else {
		err = unix.Lstat(path, &s)
	}
	if err != nil {
		return nil, err
	}
	out := new(bytes.Buffer)
	put(out, uint64(0), uint32(0), uint32(0))
	putAttributes(out, &s)
	return out.Bytes(), nil
}

func putAttributes(out *bytes.Buffer, s *unix.Stat_t) {
	put(out, s.Ino, uint64(s.Size), uint64(s.Blocks), uint64(s.Atim.Sec), uint64(s.Mtim.Sec), uint64(s.Ctim.Sec),
		uint32(s.Atim.Nsec), uint32(s.Mtim.Nsec), uint32(s.Ctim.Nsec),
		s.Mode, uint32(s.Nlink), s.Uid, s.Gid, uint32(s.Rdev), uint32(s.Blksize), uint32(0))
}

func (d *Disk) setattr(path string, body in) error {
	valid := body.u32(0)
	if valid&setMode != 0 {
		if err := unix.Chmod(path, body.u32(68)&0o7777); err != nil {
			return err
		}
	}
	if valid&setSize != 0 {
		if file := d.handles[body.u64(8)].file; valid&setHandle != 0 && file != nil {
			return file.Truncate(int64(body.u64(16)))
		}
		return unix.Truncate(path, int64(body.u64(16)))
	}
	return nil
}

func (d *Disk) rename(path string, folder uint64, names []string) error {
	into, known := d.nodes[folder]
	if !known || len(names) != 2 {
		return unix.ESTALE
	}
	to := filepath.Join(into, names[1])
	if err := unix.Rename(filepath.Join(path, names[0]), to); err != nil {
		return err
	}
	_, err := d.entry(to)
	return err
}

// open opens a file. The kernel gives the offset of each write, also of appended ones.
func (d *Disk) open(path string, flags int, mode uint32) ([]byte, error) {
	fd, err := unix.Open(path, flags&^(unix.O_APPEND|unix.O_DIRECT)|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	return d.opened(handle{file: os.NewFile(uintptr(fd), path)}), nil
}

func (d *Disk) opened(h handle) []byte {
	d.handles[d.next] = h
	out := new(bytes.Buffer)
	// Nothing is read from a cache, and as on a local disk a close, of a process that ends
	// too, waits for nothing.
	put(out, d.next, uint32(openDirectIO|openNoFlush), uint32(0))
	d.next++
	return out.Bytes()
}

func (d *Disk) close(h uint64) {
	if file := d.handles[h].file; file != nil {
		file.Close()
	}
	delete(d.handles, h)
}

func (d *Disk) read(body in) ([]byte, error) {
	b := make([]byte, body.u32(16))
	n, err := unix.Pread(int(d.handles[body.u64(0)].file.Fd()), b, int64(body.u64(8)))
	return b[:max(n, 0)], err
}

func (d *Disk) write(body in) ([]byte, error) {
	n, err := unix.Pwrite(int(d.handles[body.u64(0)].file.Fd()), body[40:40+body.u32(16)], int64(body.u64(8)))
	if err != nil {
		return nil, err
	}
	out := new(bytes.Buffer)
	put(out, uint32(n), uint32(0))
	return out.Bytes(), nil
}

func (d *Disk) readDir(body in) ([]byte, error) {
	entries, limit := d.handles[body.u64(0)].entries, int(body.u32(16))
	out := new(bytes.Buffer)
	for i := int(body.u64(8)); i < len(entries); i++ {
		name := entries[i].Name()
		if out.Len()+24+(len(name)+7)&^7 > limit {
			break
		}
		kind := entries[i].Type()
		dtype := uint32(unix.DT_REG)
		if kind.IsDir() {
			dtype = unix.DT_DIR
		}
		put(out, uint64(i+2), uint64(i+1), uint32(len(name)), dtype, []byte(name), make([]byte, (8-len(name)%8)%8))
	}
	return out.Bytes(), nil
}

func (d *Disk) statfs() ([]byte, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.nodes[rootNode], &s); err != nil {
		return nil, err
	}
	out := new(bytes.Buffer)
	put(out, s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree, uint32(s.Bsize), uint32(s.Namelen), uint32(s.Frsize), [7]uint32{})
	return out.Bytes(), nil
}
