// Text in messages, and durations.

package values

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// IsUnprintable reports whether a character is not allowed in a request line.
func IsUnprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// IsToken reports whether s is a token of HTTP (RFC 9110 §5.6.2).
func IsToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// Redact is Quote for what may be a secret: messages go to the log, to the status
// and to the page. A short one is shown, a long one is only counted.
func Redact(s string) string {
	if len(s) < 8 {
		return Quote(s)
	}
	return fmt.Sprintf("these %d characters (not shown: they may be secret)", len([]rune(s)))
}

// Quote quotes a user's string for a message, and shortens it.
func Quote(s string) string {
	if r := []rune(s); len(s) > 80 && len(r) > 60 {
		return strconv.Quote(string(r[:60])) + "…"
	}
	return strconv.Quote(s)
}

// ParseDuration reads a number with a unit; "0" needs none.
func ParseDuration(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	if err != nil || strings.Trim(s, "+-.0123456789") == "" {
		return 0, false
	}
	return d, true
}

// FormatDuration writes a duration without the zero minutes and seconds that
// time.Duration adds: "15m", not "15m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
