// This file keeps the adverts of one election from the sockets of the others on
// the same interface: of n elections each would read the adverts of all, n times
// n. What no election of this process is for reaches one of them, to be counted.

package wire

import (
	"os"
	"sync"

	"golang.org/x/net/bpf"
)

// lan is where sockets hear the same packets.
type lan struct {
	namespace string
	index     int
	v6        bool
}

// crowd is the sockets on one of them.
type crowd struct {
	all      map[*Conn]bool
	listener *Conn // hears what nobody is for, too
}

var heard = struct {
	sync.Mutex
	on map[lan]*crowd
}{on: map[lan]*crowd{}}

// join has the socket hear its own election, and the first one there what is for
// nobody.
func (c *Conn) join() error {
	namespace, _ := os.Readlink("/proc/thread-self/ns/net")
	c.lan = lan{namespace, c.index, c.source.Is6()}
	heard.Lock()
	defer heard.Unlock()
	on := heard.on[c.lan]
	if on == nil {
		on = &crowd{all: map[*Conn]bool{}, listener: c}
		heard.on[c.lan] = on
	}
	on.all[c] = true
	if on.listener != c {
		if err := c.filter([8]uint32{}, 0); err != nil {
			return err
		}
	}
	return on.sort()
}

func (c *Conn) leave() {
	heard.Lock()
	defer heard.Unlock()
	on := heard.on[c.lan]
	if on == nil || !on.all[c] {
		return
	}
	delete(on.all, c)
	if len(on.all) == 0 {
		delete(heard.on, c.lan)
		return
	}
	if on.listener == c {
		for other := range on.all {
			on.listener = other
			break
		}
	}
	_ = on.sort() // at worst something is not counted
}

// sort tells the listener what the others are for. Under the lock.
func (on *crowd) sort() error {
	var all [8]uint32
	for c := range on.all {
		all[c.vrid>>5] |= 1 << (c.vrid & 31)
	}
	return on.listener.filter(all, MaxPacket)
}

// filter has the socket hear its own election, and of what is not in all as much
// as unknown says.
func (c *Conn) filter(all [8]uint32, unknown uint32) error {
	var failed error
	err := c.raw.Control(func(fd uintptr) { failed = filter(int(fd), others(c.vrid, all, unknown, c.source.Is6())) })
	if err != nil {
		return err
	}
	return failed
}

// others is the filter that drops what is for another of these elections. A raw
// socket of IPv4 sees the IP header, one of IPv6 the message alone.
func others(own uint8, all [8]uint32, unknown uint32, v6 bool) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 1, Size: 1}}
	if v6 {
		program = []bpf.Instruction{bpf.LoadAbsolute{Off: 1, Size: 1}}
	}
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(own), SkipTrue: 0, SkipFalse: 1},
		bpf.RetConstant{Val: MaxPacket},
		bpf.TAX{}, // X: the VRID
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 5},
	)
	// The word of the bitmap that it is in.
	for i, word := range all {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(i), SkipFalse: 2},
			bpf.LoadConstant{Dst: bpf.RegA, Val: word},
			bpf.Jump{Skip: uint32(3*(len(all)-1-i)) + 1},
		)
	}
	return append(program,
		bpf.RetConstant{Val: MaxPacket}, // not reached: eight words are all
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.TXA{},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 31},
		bpf.TAX{},
		bpf.LoadScratch{Dst: bpf.RegA, N: 0},
		bpf.ALUOpX{Op: bpf.ALUOpShiftRight},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: unknown},
	)
}
