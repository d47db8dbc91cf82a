package outcome

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FromError returns the outcome of an error in a phase. got is what was received before
// it, "" for nothing.
func FromError(phase string, err error, got string) Outcome {
	out := Outcome{Reason: ReasonOf(err), Phase: phase}
	switch out.Reason {
	case Timeout, Closed:
		out.Detail = got
		if got == "" {
			out.Detail = "no answer"
		}
	default:
		out.Detail = Printable(ErrorText(err), MaxDetail)
	}
	return out
}

// LocalError is the error of a system call that prepares a probe, such as socket(2) or
// bind(2). No errno of it is an answer of the server.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return e.Err.Error() }
func (e *LocalError) Unwrap() error { return e.Err }

// ReasonOf maps an error to a reason. What is neither the kernel's error nor the end of
// the stream is the TLS library's: nothing else is between a probe and its socket.
func ReasonOf(err error) Reason {
	var errno unix.Errno
	var local *LocalError
	switch {
	case errors.As(err, &local):
		return Local
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.As(err, &errno):
		return reasonOfErrno(errno)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	}
	return TLS
}

// reasonOfErrno maps the errors of a TCP socket. ICMP errors arrive as the errno of
// icmp_err_convert (net/ipv4/icmp.c) and icmpv6_err_convert (net/ipv6/icmp.c). All
// others are made on this machine.
func reasonOfErrno(errno unix.Errno) Reason {
	switch errno {
	case unix.ECONNREFUSED:
		return Refused
	case unix.ETIMEDOUT: // the kernel gave up before our deadline
		return Timeout
	case unix.ECONNRESET, unix.ECONNABORTED,
		unix.EPIPE: // a reset that was reported already, or that arrived in CLOSE_WAIT
		return Reset
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENETDOWN,
		unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EPROTO,
		unix.EACCES, unix.EPERM, unix.EINVAL: // of connect(2) and send(2): see routeErrors
		return Unreachable
	}
	// EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL and EADDRINUSE (no source
	// port, or a source address that is not local), and whatever is missing above:
	// none proves a failure of the server.
	return Local
}

// routeErrors explains errors of connect(2) and send(2) that concern one destination
// (fib_props in net/ipv4/fib_semantics.c, ip6_rt_type_to_error in net/ipv6/route.c). No
// client of this machine reaches that server, and nothing that lvsd forwards does.
var routeErrors = map[unix.Errno]string{
	unix.EINVAL: "the route to it is a blackhole (EINVAL)",
	unix.EACCES: "the route to it prohibits sending (EACCES)",
	unix.EPERM:  "rejected by a packet filter of this director (EPERM)",
}

// ErrorText is the message of an error without the names of the layers it passed
// through.
func ErrorText(err error) string {
	local := ReasonOf(err) == Local
	var file *os.PathError
	if errors.As(err, &file) {
		err = file.Err
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		switch name := unix.ErrnoName(errno); {
		case local && name != "":
			return err.Error() + " (" + name + ")" // with the operation: the operator can fix it
		case !local && routeErrors[errno] != "":
			return routeErrors[errno]
		}
		return errno.Error()
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return "the response is not TLS: " + Quote(record.RecordHeader[:])
	}
	return strings.TrimPrefix(err.Error(), "tls: ")
}

// MaxDetail bounds the detail of an outcome, in bytes.
const MaxDetail = 256

// Quote returns bytes that a server sent in quotation marks, made printable.
func Quote(b []byte) string { return `"` + Printable(string(b), MaxDetail-50) + `"` }

// Printable returns s as printable ASCII of at most limit bytes (3 or more). What is cut
// off is marked by "...". Printable text is returned as it is, so Printable may be
// applied twice.
func Printable(s string, limit int) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, min(len(s), limit))
	safe := 0 // length that leaves room for the mark
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < ' ' || c > '~':
			out = append(out, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
		if len(out) > limit {
			return string(append(out[:safe], "..."...))
		}
		if len(out) <= limit-3 {
			safe = len(out)
		}
	}
	return string(out)
}

// LocalFailure returns the outcome of an error that is this machine's, whatever it is.
func LocalFailure(err error) Outcome {
	return NewOutcome(Local, PhaseConnect, Printable(ErrorText(&LocalError{err}), MaxDetail))
}
