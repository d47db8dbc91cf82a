package timer

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Timer fires once after Set, unless it is set again or cleared before. It may
// still fire when Set or Clear is called at the same moment: the receiver compares
// its deadline with the clock.
type Timer interface {
	Set(in time.Duration) // 0 or less: fires at once
	Clear()
	C() <-chan struct{}
	Close()
}

// New returns a timerfd, or a runtime timer where there is none.
func New() Timer {
	if t, err := newKernel(); err == nil {
		return t
	}
	return NewRuntime()
}

// kernelTimer is a timerfd.
type kernelTimer struct {
	file *os.File
	fd   int
	c    chan struct{}
	done chan struct{} // closed when the reader has ended
}

func newKernel() (*kernelTimer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	t := &kernelTimer{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd, c: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		var expirations [8]byte
		for {
			if _, err := t.file.Read(expirations[:]); err != nil {
				return // closed
			}
			notify(t.c)
		}
	}()
	return t, nil
}

func (t *kernelTimer) Set(in time.Duration) { t.set(max(in, 1)) } // 0 would disarm it

func (t *kernelTimer) Clear() { t.set(0) }

func (t *kernelTimer) set(in time.Duration) {
	_ = unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(in))}, nil) // no argument can be invalid
}

func (t *kernelTimer) C() <-chan struct{} { return t.c }

func (t *kernelTimer) Close() {
	_ = t.file.Close()
	<-t.done
}

// runtimeTimer is a timer of the Go runtime.
type runtimeTimer struct {
	timer *time.Timer
	c     chan struct{}
}

// NewRuntime returns a timer of the Go runtime. It follows the fake clock of
// testing/synctest.
func NewRuntime() Timer {
	t := &runtimeTimer{c: make(chan struct{}, 1)}
	t.timer = time.AfterFunc(time.Hour, func() { notify(t.c) })
	t.timer.Stop()
	return t
}

func (t *runtimeTimer) Set(in time.Duration) { t.timer.Reset(in) }

func (t *runtimeTimer) Clear() { t.timer.Stop() }

func (t *runtimeTimer) C() <-chan struct{} { return t.c }

func (t *runtimeTimer) Close() { t.timer.Stop() }

// notify sends without blocking.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
