// The generic netlink messages of IPVS. The numbers are those of
// include/uapi/linux/ip_vs.h and include/uapi/linux/genetlink.h.

package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"lvsd/ipvs"
)

// Commands, IPVS_CMD_*.
const (
	cmdNewService = 1
	cmdSetService = 2
	cmdDelService = 3
	cmdGetService = 4
	cmdNewDest    = 5
	cmdSetDest    = 6
	cmdDelDest    = 7
	cmdGetDest    = 8
	cmdNewDaemon  = 9
	cmdDelDaemon  = 10
	cmdGetDaemon  = 11
	cmdSetConfig  = 12
	cmdGetConfig  = 13
	cmdGetInfo    = 15
	cmdZero       = 16
)

// Attributes of the first level, IPVS_CMD_ATTR_*, and of the reply to GET_INFO,
// IPVS_INFO_ATTR_*.
const (
	attrService       = 1
	attrDest          = 2
	attrDaemon        = 3
	attrTimeoutTCP    = 4
	attrTimeoutTCPFin = 5
	attrTimeoutUDP    = 6

	infoVersion     = 1
	infoConnTabSize = 2
)

// Attributes of a service, IPVS_SVC_ATTR_*.
const (
	svcFamily    = 1
	svcProtocol  = 2
	svcAddress   = 3
	svcPort      = 4
	svcMark      = 5
	svcScheduler = 6
	svcFlags     = 7
	svcTimeout   = 8
	svcNetmask   = 9
	svcStats     = 10
	svcEngine    = 11
	svcStats64   = 12
)

// Attributes of a destination, IPVS_DEST_ATTR_*.
const (
	destAddress    = 1
	destPort       = 2
	destForward    = 3
	destWeight     = 4
	destUpper      = 5
	destLower      = 6
	destActive     = 7
	destInactive   = 8
	destPersistent = 9
	destStats      = 10
	destFamily     = 11
	destStats64    = 12
	destTunType    = 13
	destTunPort    = 14
	destTunFlags   = 15
)

// Attributes of counters, IPVS_STATS_ATTR_*.
const (
	statConns    = 1
	statInPkts   = 2
	statOutPkts  = 3
	statInBytes  = 4
	statOutBytes = 5

	rateConns    = 6
	rateInPkts   = 7
	rateOutPkts  = 8
	rateInBytes  = 9
	rateOutBytes = 10
)

// The generic netlink controller, linux/genetlink.h.
const (
	ctrlFamily     = 0x10 // GENL_ID_CTRL
	ctrlGetFamily  = 3
	ctrlFamilyID   = 1
	ctrlFamilyName = 2
)

const (
	afInet  = 2
	afInet6 = 10

	nlaNested   = 0x8000
	nlaTypeMask = 0x3fff
	nlaHeader   = 4
	genlHeader  = 4
	genlVersion = 1

	forwardMask = 0x7 // IP_VS_CONN_F_FWD_MASK

	flagPersistent ipvs.SchedulerFlags = 0x01 // IP_VS_SVC_F_PERSISTENT
	flagHashed     ipvs.SchedulerFlags = 0x02 // IP_VS_SVC_F_HASHED
)

var native = binary.NativeEndian

var errShort = errors.New("truncated netlink attribute")

// align rounds up to a multiple of 4, netlink's alignment.
func align(n int) int { return (n + 3) &^ 3 }

// appendAttr appends one attribute with its padding.
func appendAttr(b []byte, typ uint16, payload []byte) []byte {
	b = native.AppendUint16(b, uint16(nlaHeader+len(payload)))
	b = native.AppendUint16(b, typ)
	b = append(b, payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendUint16(b []byte, typ uint16, v uint16) []byte {
	return appendAttr(b, typ, native.AppendUint16(nil, v))
}

func appendUint32(b []byte, typ uint16, v uint32) []byte {
	return appendAttr(b, typ, native.AppendUint32(nil, v))
}

// appendPort appends a port in network byte order.
func appendPort(b []byte, typ uint16, port uint16) []byte {
	return appendAttr(b, typ, binary.BigEndian.AppendUint16(nil, port))
}

func appendString(b []byte, typ uint16, s string) []byte {
	return appendAttr(b, typ, append([]byte(s), 0))
}

// nested wraps what fill appends into one attribute.
func nested(b []byte, typ uint16, fill func([]byte) []byte) []byte {
	start := len(b)
	b = native.AppendUint16(b, 0)
	b = native.AppendUint16(b, typ|nlaNested)
	b = fill(b)
	native.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func family(a netip.Addr) uint16 {
	if a.Is4() {
		return afInet
	}
	return afInet6
}

func keyFamily(k ipvs.ServiceKey) uint16 {
	if k.Is4() {
		return afInet
	}
	return afInet6
}

// encodeKey appends a service with only its key: enough for all commands except NEW
// and SET.
func encodeKey(b []byte, k ipvs.ServiceKey) []byte {
	return nested(b, attrService, func(b []byte) []byte { return appendKey(b, k) })
}

func appendKey(b []byte, k ipvs.ServiceKey) []byte {
	b = appendUint16(b, svcFamily, keyFamily(k))
	if k.Mark != 0 {
		return appendUint32(b, svcMark, k.Mark)
	}
	b = appendUint16(b, svcProtocol, uint16(k.Protocol))
	b = appendAttr(b, svcAddress, k.Address.Addr().AsSlice())
	return appendPort(b, svcPort, k.Address.Port())
}

// encodeService appends a service with its settings, for NEW and SET.
func encodeService(b []byte, s ipvs.Service) []byte {
	return nested(b, attrService, func(b []byte) []byte {
		b = appendKey(b, s.Key)
		b = appendString(b, svcScheduler, s.Scheduler)
		if s.Engine != "" {
			b = appendString(b, svcEngine, s.Engine)
		}
		// struct ip_vs_flags{flags, mask}: the mask replaces all flags.
		b = appendAttr(b, svcFlags, native.AppendUint32(native.AppendUint32(nil, kernelFlags(s)), ^uint32(0)))
		b = appendUint32(b, svcTimeout, s.Persistence)
		return appendUint32(b, svcNetmask, kernelNetmask(s))
	})
}

// kernelFlags returns the flags with IP_VS_SVC_F_PERSISTENT if there is a persistence
// time.
func kernelFlags(s ipvs.Service) uint32 {
	flags := s.Flags
	if s.Persistence != 0 {
		flags |= flagPersistent
	}
	return uint32(flags)
}

// kernelNetmask returns a mask in network byte order for IPv4, a prefix length for IPv6,
// for which the kernel refuses 0.
func kernelNetmask(s ipvs.Service) uint32 {
	n := s.PersistencePrefix()
	if !s.Key.Is4() {
		return uint32(n)
	}
	if n <= 0 {
		return 0
	}
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<(32-min(n, 32)))
	return native.Uint32(mask[:])
}

// netmaskBits is the inverse of kernelNetmask. It returns -1 for a mask that is not a
// prefix.
func netmaskBits(v uint32, v4 bool) int {
	if !v4 {
		return int(v)
	}
	var b [4]byte
	native.PutUint32(b[:], v)
	mask := binary.BigEndian.Uint32(b[:])
	n := bits.LeadingZeros32(^mask)
	if mask<<n != 0 || n == 0 {
		return -1
	}
	return n
}

// encodeDest appends a destination; full adds the settings for NEW and SET. The family
// and the tunnel attributes are always sent: the kernel takes a missing one for zero, so
// that an edit without them would reset them.
func encodeDest(b []byte, d ipvs.Destination, full bool) []byte {
	return nested(b, attrDest, func(b []byte) []byte {
		b = appendAttr(b, destAddress, d.Address.Addr().AsSlice())
		b = appendPort(b, destPort, d.Address.Port())
		b = appendUint16(b, destFamily, family(d.Address.Addr()))
		if !full {
			return b
		}
		b = appendUint32(b, destForward, uint32(d.Forward)&forwardMask)
		b = appendUint32(b, destWeight, uint32(d.Weight))
		b = appendUint32(b, destUpper, d.UpperThreshold)
		b = appendUint32(b, destLower, d.LowerThreshold)
		b = appendAttr(b, destTunType, []byte{uint8(d.Encap.Type)})
		b = appendPort(b, destTunPort, d.Encap.Port)
		return appendUint16(b, destTunFlags, d.Encap.Flags)
	})
}

// encodeOp returns the command and the attributes of one write.
func encodeOp(op ipvs.Op) (cmd uint8, attrs []byte, err error) {
	switch op.Kind {
	case ipvs.AddService:
		return cmdNewService, encodeService(nil, op.Service), nil
	case ipvs.EditService:
		return cmdSetService, encodeService(nil, op.Service), nil
	case ipvs.DeleteService:
		return cmdDelService, encodeKey(nil, op.Service.Key), nil
	case ipvs.AddDestination:
		return cmdNewDest, encodeDest(encodeKey(nil, op.Service.Key), op.Destination, true), nil
	case ipvs.EditDestination:
		return cmdSetDest, encodeDest(encodeKey(nil, op.Service.Key), op.Destination, true), nil
	case ipvs.DeleteDestination:
		return cmdDelDest, encodeDest(encodeKey(nil, op.Service.Key), op.Destination, false), nil
	}
	return 0, nil, fmt.Errorf("no such operation: %d", op.Kind)
}

// encodeTimeouts returns the attributes of SET_CONFIG, in seconds; 0 leaves a timeout.
func encodeTimeouts(t ipvs.Timeouts) []byte {
	var b []byte
	for _, a := range []struct {
		typ uint16
		d   time.Duration
	}{{attrTimeoutTCP, t.TCP}, {attrTimeoutTCPFin, t.TCPFin}, {attrTimeoutUDP, t.UDP}} {
		b = appendUint32(b, a.typ, uint32(a.d/time.Second))
	}
	return b
}

// eachAttr calls f for each attribute in b.
func eachAttr(b []byte, f func(typ uint16, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < nlaHeader {
			return errShort
		}
		n := int(native.Uint16(b))
		if n < nlaHeader || n > len(b) {
			return errShort
		}
		if err := f(native.Uint16(b[2:])&nlaTypeMask, b[nlaHeader:n]); err != nil {
			return err
		}
		b = b[min(align(n), len(b)):]
	}
	return nil
}

// eachIn calls f for each attribute nested in the attribute typ of a message that starts
// with the generic netlink header.
func eachIn(msg []byte, typ uint16, f func(typ uint16, v []byte) error) error {
	if len(msg) < genlHeader {
		return errShort
	}
	return eachAttr(msg[genlHeader:], func(t uint16, v []byte) error {
		if t != typ {
			return nil
		}
		return eachAttr(v, f)
	})
}

// number returns the unsigned integer in a payload of 1, 2, 4 or 8 bytes.
func number(v []byte) (uint64, error) {
	switch len(v) {
	case 1:
		return uint64(v[0]), nil
	case 2:
		return uint64(native.Uint16(v)), nil
	case 4:
		return uint64(native.Uint32(v)), nil
	case 8:
		return native.Uint64(v), nil
	}
	return 0, errShort
}

func text(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

// address returns the address in a union nf_inet_addr of 16 bytes, of which IPv4 uses 4.
func address(v []byte, family uint64) (netip.Addr, error) {
	switch {
	case family == afInet && len(v) >= 4:
		return netip.AddrFrom4([4]byte(v[:4])), nil
	case family == afInet6 && len(v) >= 16:
		return netip.AddrFrom16([16]byte(v[:16])), nil
	}
	return netip.Addr{}, fmt.Errorf("address of %d bytes in family %d", len(v), family)
}

// decodeService parses a message of the reply to GET_SERVICE. A service by firewall mark
// has no protocol, address and port.
func decodeService(msg []byte) (s ipvs.Service, c ipvs.ServiceStats, err error) {
	var fam, mark, mask, flags, timeout, proto uint64
	var addr, port []byte
	var wide bool
	err = eachIn(msg, attrService, func(typ uint16, v []byte) (err error) {
		switch typ {
		case svcFamily:
			fam, err = number(v)
		case svcProtocol:
			proto, err = number(v)
		case svcAddress:
			addr = v
		case svcPort:
			port = v
		case svcMark:
			mark, err = number(v)
		case svcScheduler:
			s.Scheduler = text(v)
		case svcFlags:
			if len(v) < 4 {
				return errShort
			}
			flags = uint64(native.Uint32(v))
		case svcTimeout:
			timeout, err = number(v)
		case svcNetmask:
			mask, err = number(v)
		case svcEngine:
			s.Engine = text(v)
		case svcStats, svcStats64:
			err = decodeCounters(v, typ == svcStats64, &wide, &c.Counters, &c.Rates)
		}
		return err
	})
	if err != nil {
		return ipvs.Service{}, ipvs.ServiceStats{}, err
	}
	if mark != 0 {
		s.Key = ipvs.ServiceKey{Mark: uint32(mark), IPv6: fam == afInet6}
	} else {
		a, err := address(addr, fam)
		if err != nil || len(port) != 2 {
			return ipvs.Service{}, ipvs.ServiceStats{}, errors.Join(err, errShort)
		}
		s.Key = ipvs.ServiceKey{Protocol: ipvs.Protocol(proto), Address: netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))}
	}
	setKernelFlags(&s, ipvs.SchedulerFlags(flags), uint32(timeout))
	s.PersistenceBits = netmaskBits(uint32(mask), s.Key.Is4())
	return s, c, nil
}

// setKernelFlags sets Flags and Persistence from the kernel's flags and timeout. A
// persistent flag without a timeout stays in Flags, so that it differs from every desired
// service and is repaired.
func setKernelFlags(s *ipvs.Service, flags ipvs.SchedulerFlags, timeout uint32) {
	flags &^= flagHashed
	if flags&flagPersistent != 0 && timeout != 0 {
		flags &^= flagPersistent
		s.Persistence = timeout
	}
	s.Flags = flags
}

// decodeDest parses a message of the reply to GET_DEST for a service of that family.
func decodeDest(msg []byte, serviceFamily uint16) (d ipvs.Destination, s ipvs.DestinationStats, err error) {
	fam := uint64(serviceFamily)
	var addr, port []byte
	var wide bool
	err = eachIn(msg, attrDest, func(typ uint16, v []byte) (err error) {
		var n uint64
		switch typ {
		case destAddress:
			addr = v
		case destPort:
			port = v
		case destFamily:
			fam, err = number(v)
		case destForward:
			n, err = number(v)
			d.Forward = ipvs.Forward(n & forwardMask)
		case destWeight:
			n, err = number(v)
			d.Weight = int(int32(n))
		case destUpper:
			n, err = number(v)
			d.UpperThreshold = uint32(n)
		case destLower:
			n, err = number(v)
			d.LowerThreshold = uint32(n)
		case destActive:
			n, err = number(v)
			s.Active = uint32(n)
		case destInactive:
			n, err = number(v)
			s.Inactive = uint32(n)
		case destPersistent:
			n, err = number(v)
			s.Persistent = uint32(n)
		case destTunType:
			n, err = number(v)
			d.Encap.Type = ipvs.EncapType(n)
		case destTunPort:
			if len(v) != 2 {
				return errShort
			}
			d.Encap.Port = binary.BigEndian.Uint16(v)
		case destTunFlags:
			n, err = number(v)
			d.Encap.Flags = uint16(n)
		case destStats, destStats64:
			err = decodeCounters(v, typ == destStats64, &wide, &s.Counters, &s.Rates)
		}
		return err
	})
	if err != nil {
		return ipvs.Destination{}, ipvs.DestinationStats{}, err
	}
	a, err := address(addr, fam)
	if err != nil || len(port) != 2 {
		return ipvs.Destination{}, ipvs.DestinationStats{}, errors.Join(err, errShort)
	}
	d.Address = netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	return d, s, nil
}

// decodeCounters parses counters and rates. Those of 64 bits have priority over those of
// 32 bits, which kernels before 4.1 have alone; wide is set when they were parsed.
func decodeCounters(b []byte, is64 bool, wide *bool, c *ipvs.Counters, r *ipvs.Rates) error {
	if *wide && !is64 {
		return nil
	}
	*wide = is64
	return eachAttr(b, func(typ uint16, v []byte) (err error) {
		switch typ {
		case statConns:
			c.Connections, err = number(v)
		case statInPkts:
			c.PacketsIn, err = number(v)
		case statOutPkts:
			c.PacketsOut, err = number(v)
		case statInBytes:
			c.BytesIn, err = number(v)
		case statOutBytes:
			c.BytesOut, err = number(v)
		case rateConns:
			r.Connections, err = number(v)
		case rateInPkts:
			r.PacketsIn, err = number(v)
		case rateOutPkts:
			r.PacketsOut, err = number(v)
		case rateInBytes:
			r.BytesIn, err = number(v)
		case rateOutBytes:
			r.BytesOut, err = number(v)
		}
		return err
	})
}

// decodeTop returns the numbers of the first level by attribute.
func decodeTop(msg []byte) (map[uint16]uint64, error) {
	if len(msg) < genlHeader {
		return nil, errShort
	}
	out := map[uint16]uint64{}
	err := eachAttr(msg[genlHeader:], func(typ uint16, v []byte) error {
		if n, err := number(v); err == nil {
			out[typ] = n
		}
		return nil
	})
	return out, err
}

// decodeTimeouts parses the reply to GET_CONFIG. A timeout is missing if the kernel was
// built without the protocol.
func decodeTimeouts(msg []byte) (ipvs.Timeouts, error) {
	n, err := decodeTop(msg)
	seconds := func(typ uint16) time.Duration { return time.Duration(n[typ]) * time.Second }
	return ipvs.Timeouts{TCP: seconds(attrTimeoutTCP), TCPFin: seconds(attrTimeoutTCPFin), UDP: seconds(attrTimeoutUDP)}, err
}

// decodeInfo parses the reply to GET_INFO. The version is three bytes of a number.
func decodeInfo(msg []byte) (ipvs.Info, error) {
	n, err := decodeTop(msg)
	v := n[infoVersion]
	return ipvs.Info{Version: fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff), ConnTableSize: uint32(n[infoConnTabSize])}, err
}
