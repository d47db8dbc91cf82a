package checksum

// Add adds the 16-bit big-endian words of b to sum; an odd last octet counts as
// the high half of a word. The sum of up to 128 KiB cannot overflow.
func Add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// Fold adds the carries and returns the ones' complement sum. Over data that
// contains its own correct checksum it is 0xffff; the checksum to write is ^Fold.
func Fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
