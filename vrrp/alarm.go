// This file is the election's clock: a timer of the kernel's own, because the
// runtime's waits in whole milliseconds, and a skew may be 39 µs. It decides nothing.

package vrrp

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm rings once after Set, unless it is set anew or cleared before that. One
// that rang just then may still ring: whoever hears it looks at the time.
type alarm interface {
	Set(in time.Duration)
	Clear()
	Rings() <-chan struct{}
	Close()
}

// newAlarm is the kernel's, or else the runtime's.
func newAlarm() alarm {
	if a, err := newKernelAlarm(); err == nil {
		return a
	}
	return newRuntimeAlarm()
}

// kernelAlarm is a timerfd.
type kernelAlarm struct {
	file  *os.File
	fd    int
	rings chan struct{}
	done  chan struct{} // closed when nobody reads any more
}

func newKernelAlarm() (*kernelAlarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &kernelAlarm{file: os.NewFile(uintptr(fd), "alarm"), fd: fd, rings: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		var times [8]byte
		for {
			if _, err := a.file.Read(times[:]); err != nil {
				return // closed
			}
			select {
			case a.rings <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

func (a *kernelAlarm) Set(in time.Duration) { a.set(max(in, 1)) } // 0 would clear it

func (a *kernelAlarm) Clear() { a.set(0) }

func (a *kernelAlarm) set(in time.Duration) {
	_ = unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(in))}, nil) // nothing in it can be refused
}

func (a *kernelAlarm) Rings() <-chan struct{} { return a.rings }

func (a *kernelAlarm) Close() {
	_ = a.file.Close()
	<-a.done
}

// runtimeAlarm is the runtime's timer: for where there is no other, and for tests
// whose time is not the kernel's.
type runtimeAlarm struct {
	timer *time.Timer
	rings chan struct{}
}

func newRuntimeAlarm() alarm {
	a := &runtimeAlarm{rings: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(time.Hour, func() {
		select {
		case a.rings <- struct{}{}:
		default:
		}
	})
	a.timer.Stop()
	return a
}

func (a *runtimeAlarm) Set(in time.Duration) { a.timer.Reset(in) }

func (a *runtimeAlarm) Clear() { a.timer.Stop() }

func (a *runtimeAlarm) Rings() <-chan struct{} { return a.rings }

func (a *runtimeAlarm) Close() { a.timer.Stop() }
