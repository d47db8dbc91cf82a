package dialogue

import (
	"cmp"
	"encoding/binary"
)

// amqp is a dialogue of AMQP 0-9-1. Without a user it ends at the greeting, which
// RabbitMQ logs as a connection that was given up; with one it logs in, opens the
// virtual host and closes.
func amqp(s *Settings) []Step {
	const (
		start, startOK  = "\x00\x0a\x00\x0a", "\x00\x0a\x00\x0b"
		tune, tuneOK    = "\x00\x0a\x00\x1e", "\x00\x0a\x00\x1f"
		open, opened    = "\x00\x0a\x00\x28", "\x00\x0a\x00\x29"
		closing, closed = "\x00\x0a\x00\x32", "\x00\x0a\x00\x33"
	)
	header := Step{Send: "AMQP\x00\x00\x09\x01", Expect: amqpMethod(start), Refuse: `\A[^\x01]`}
	if s.User == "" {
		return []Step{header}
	}
	// The server then says why it refuses a login, instead of closing the connection.
	capabilities := amqpShort("authentication_failure_close") + "t\x01"
	properties := amqpShort("product") + "S" + amqpLong("lvsd") + amqpShort("capabilities") + "F" + amqpLong(capabilities)
	refuse := amqpMethod(closing)
	return []Step{header,
		{Send: amqpFrame(startOK + amqpLong(properties) + amqpShort("PLAIN") + amqpLong("\x00"+s.User+"\x00"+s.Password) + amqpShort("en_US")),
			Expect: amqpMethod(tune), Refuse: refuse},
		// One channel, the smallest frames that brokers accept, no heartbeat.
		{Send: amqpFrame(tuneOK+"\x00\x01"+"\x00\x00\x20\x00"+"\x00\x00") + amqpFrame(open+amqpShort(cmp.Or(s.Database, "/"))+"\x00\x00"),
			Expect: amqpMethod(opened), Refuse: refuse},
		{Send: amqpFrame(closing + "\x00\xc8" + amqpShort("") + "\x00\x00\x00\x00"), Expect: amqpMethod(closed), Refuse: refuse},
		{},
	}
}

// amqpMethod returns a pattern of a method frame on channel 0 (specification, §2.3.5).
func amqpMethod(method string) string {
	pattern := `\x01\x00\x00(?s:.{4})`
	for _, b := range []byte(method) {
		const hex = "0123456789abcdef"
		pattern += `\x` + string([]byte{hex[b>>4], hex[b&15]})
	}
	return pattern
}

// amqpFrame returns a method frame on channel 0.
func amqpFrame(method string) string { return "\x01\x00\x00" + amqpLong(method) + "\xce" }

// amqpShort and amqpLong encode strings after their length; a table is encoded as a long
// one.
func amqpShort(s string) string { return string([]byte{byte(min(len(s), 255))}) + s[:min(len(s), 255)] }

func amqpLong(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}
