// This file sends events by mail.

package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/event"
	"lvsd/config"
)

const (
	// mailGather is how long events are gathered after the first.
	mailGather = 10 * time.Second
	// mailDeadline bounds one message, from the connection to its acceptance.
	mailDeadline = 30 * time.Second
	// passwordLimit bounds the size of a password_file, in bytes.
	passwordLimit = 1 << 10
)

// mailer sends mail as [email] says.
type mailer struct {
	config.Email
	roots *x509.CertPool // nil: the system's certificate authorities
}

func (m *mailer) send(ctx context.Context, events []event.Event) error {
	ctx, cancel := context.WithTimeout(ctx, mailDeadline)
	defer cancel()
	message, err := m.message(events)
	if err != nil {
		return err
	}
	client, err := m.client(ctx)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, message)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not accepted within %s: %w", mailDeadline, err)
	}
	return err
}

// message writes the events, a line each.
func (m *mailer) message(events []event.Event) (*mail.Msg, error) {
	worst := events[0]
	var body strings.Builder
	for _, e := range events {
		if severity[e.Level] > severity[worst.Level] {
			worst = e
		}
		fmt.Fprintf(&body, "%s %s %s\n", e.At.Local().Format("2006-01-02 15:04:05.000 MST"), e.Level, describe(e))
	}
	subject, _, _ := strings.Cut(describe(worst), ": ")
	if more := len(events) - 1; more > 0 {
		subject += fmt.Sprintf(" (and %d more)", more)
	}
	message := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(message.From(m.From), message.To(m.To...)); err != nil {
		return nil, err
	}
	message.Subject(fmt.Sprintf("[lvsd %s] %s", worst.Director, subject))
	message.SetDate()
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	message.SetBodyString(mail.TypeTextPlain, body.String())
	return message, nil
}

var severity = map[event.Level]int{event.Info: 0, event.Warn: 1, event.Error: 2}

// client returns a client of the server for one message, so that a new password counts
// from the next one on. Its connection is closed when the context ends.
func (m *mailer) client(ctx context.Context) (*mail.Client, error) {
	host, portText, err := net.SplitHostPort(m.Server)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	// Opportunistic encryption protects from listeners alone, as the server may offer none:
	// a certificate that cannot be verified is better than no encryption (RFC 7435 §3). A
	// password is sent to a verified server only.
	secure := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: m.roots,
		InsecureSkipVerify: m.TLS == "opportunistic" && m.User == ""}
	options := []mail.Option{mail.WithPort(port), mail.WithTimeout(mailDeadline), mail.WithTLSConfig(secure),
		mail.WithDialContextFunc(m.dialer(ctx, secure))}
	switch m.TLS {
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default: // with "implicit" the connection is encrypted, and has no STARTTLS
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	}
	if m.User != "" {
		text, err := disk.Read(m.PasswordFile, passwordLimit)
		if err != nil {
			return nil, err
		}
		password, _, _ := strings.Cut(string(text), "\n")
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(strings.TrimSuffix(password, "\r")))
	}
	return mail.NewClient(host, options...)
}

// dialer returns what connects to the server. The context that the library hands to it
// ends with the opening of the connection: whole is the one of the message.
func (m *mailer) dialer(whole context.Context, secure *tls.Config) mail.DialContextFunc {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", m.Server) // the library has no brackets for IPv6
		if err != nil {
			return nil, err
		}
		context.AfterFunc(whole, func() { _ = c.Close() })
		if m.TLS != "implicit" {
			return c, nil
		}
		encrypted := tls.Client(c, secure)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		return encrypted, nil
	}
}
