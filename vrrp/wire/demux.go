// A kernel filter gives each socket the adverts of its own VRID only: otherwise
// each of n instances on an interface would read the adverts of all n. One socket
// for each interface also receives unknown VRIDs, to count them.

package wire

import (
	"os"
	"sync"

	"golang.org/x/net/bpf"
)

// demuxKey identifies sockets that receive the same packets.
type demuxKey struct {
	namespace string
	index     int
	v6        bool
}

// demux is the set of sockets with one key.
type demux struct {
	conns    map[*Conn]bool
	listener *Conn // also receives unknown VRIDs
}

var demuxes = struct {
	sync.Mutex
	on map[demuxKey]*demux
}{on: map[demuxKey]*demux{}}

// join adds the socket and sets its filter.
func (c *Conn) join() error {
	namespace, _ := os.Readlink("/proc/thread-self/ns/net")
	c.demuxKey = demuxKey{namespace, c.index, c.source.Is6()}
	demuxes.Lock()
	defer demuxes.Unlock()
	on := demuxes.on[c.demuxKey]
	if on == nil {
		on = &demux{conns: map[*Conn]bool{}, listener: c}
		demuxes.on[c.demuxKey] = on
	}
	on.conns[c] = true
	if on.listener != c {
		if err := c.filter([8]uint32{}, 0); err != nil {
			return err
		}
	}
	return on.update()
}

func (c *Conn) leave() {
	demuxes.Lock()
	defer demuxes.Unlock()
	on := demuxes.on[c.demuxKey]
	if on == nil || !on.conns[c] {
		return
	}
	delete(on.conns, c)
	if len(on.conns) == 0 {
		delete(demuxes.on, c.demuxKey)
		return
	}
	if on.listener == c {
		for other := range on.conns {
			on.listener = other
			break
		}
	}
	_ = on.update() // at worst something is not counted
}

// update sets the listener's filter. demuxes must be locked.
func (on *demux) update() error {
	var all [8]uint32
	for c := range on.conns {
		all[c.vrid>>5] |= 1 << (c.vrid & 31)
	}
	return on.listener.filter(all, MaxPacket)
}

// filter accepts the socket's own VRID, and the first unknown octets of packets
// whose VRID is not in all.
func (c *Conn) filter(all [8]uint32, unknown uint32) error {
	var failed error
	err := c.raw.Control(func(fd uintptr) { failed = filter(int(fd), demuxFilter(c.vrid, all, unknown, c.source.Is6())) })
	if err != nil {
		return err
	}
	return failed
}

// demuxFilter returns a filter that drops the VRIDs of other sockets. A raw IPv4
// socket sees the IP header, an IPv6 one only the message.
func demuxFilter(own uint8, all [8]uint32, unknown uint32, v6 bool) []bpf.Instruction {
	// A message without a VRID is unknown. Without the check of the length the load
	// would end the program, and the packet would not be counted.
	program := []bpf.Instruction{bpf.LoadMemShift{Off: 0}} // X: length of the IP header
	if v6 {
		program = []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 0}}
	}
	program = append(program,
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.ALUOpX{Op: bpf.ALUOpSub},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: 2, SkipTrue: 1},
		bpf.RetConstant{Val: unknown},
		bpf.LoadIndirect{Off: 1, Size: 1},
	)
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(own), SkipTrue: 0, SkipFalse: 1},
		bpf.RetConstant{Val: MaxPacket},
		bpf.TAX{}, // X: the VRID
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 5},
	)
	// The word of the bitmap that has the bit.
	for i, word := range all {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(i), SkipFalse: 2},
			bpf.LoadConstant{Dst: bpf.RegA, Val: word},
			bpf.Jump{Skip: uint32(3*(len(all)-1-i)) + 1},
		)
	}
	return append(program,
		bpf.RetConstant{Val: MaxPacket}, // not reached: there are eight words
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
