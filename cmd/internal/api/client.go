package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Client asks a running daemon over its control socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the daemon that listens on that socket.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}
	return c
}

// Answers reports whether a daemon accepts connections on a control socket.
func Answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// Status asks for the state of the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/api/v1/status")
}

// Reload requests a reload and waits for its outcome.
func (c *Client) Reload(ctx context.Context) (ReloadResult, error) {
	return call[ReloadResult](ctx, c, http.MethodPost, "/control/v1/reload")
}

// Why requests the causes of a service's weights, or of one real server's.
func (c *Client) Why(ctx context.Context, service, realServer string) (Why, error) {
	query := url.Values{"service": {service}}
	if realServer != "" {
		query.Set("real_server", realServer)
	}
	return call[Why](ctx, c, http.MethodGet, "/api/v1/why?"+query.Encode())
}

func call[T any](ctx context.Context, c *Client, method, path string) (T, error) {
	return send[T](ctx, c, method, path, nil)
}

// send is call with a body.
func send[T any](ctx context.Context, c *Client, method, path string, body io.Reader) (T, error) {
	var out T
	resp, err := c.ask(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("failed to read the daemon's response: %w", err)
	}
	return out, nil
}

// ask returns a successful response, whose body the caller closes.
func (c *Client) ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://lvsd"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return nil, fmt.Errorf("the daemon responded %s: %s", resp.Status, strings.TrimSpace(string(text)))
}

// ErrNoDaemon: no daemon accepts connections on the control socket.
var ErrNoDaemon = errors.New("cannot connect to lvsd")

// explain adds to common errors what to do about them.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s: is lvsd running, and with this configuration file?", ErrNoDaemon, c.socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission for %s: run as root, or as a member of [global] control_group", c.socket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the daemon does not reply on %s although it accepts connections: is it stopped or overloaded?", c.socket)
	default:
		return fmt.Errorf("request to the daemon on %s failed: %w", c.socket, err)
	}
}
