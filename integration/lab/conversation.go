// One TCP connection that must stay alive: lines through a VIP to a line server. Each
// answer is checked, before, during and after a fault.

package lab

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Conversation is an open connection to a line server (ServeLines).
type Conversation struct {
	Server string // the server that answered the first line
	host   *Host
	conn   net.Conn
	in     *bufio.Reader

	mu       sync.Mutex // one line at a time
	said     int
	err      error // the first failure; the conversation is over
	longest  time.Duration
	keepDone chan struct{}
	keepStop context.CancelFunc
}

// Converse connects from a client to a line server and exchanges a first line;
// 5 s are allowed for that, and a failure ends the test.
func Converse(client *Host, addr string) *Conversation {
	client.lab.tb.Helper()
	c, err := TryConverse(client, addr, 5*time.Second)
	client.lab.must(err, "converse from %s with %s", client.Name, addr)
	return c
}

// TryConverse is Converse that returns its error.
func TryConverse(client *Host, addr string, limit time.Duration) (*Conversation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := client.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conversation{host: client, conn: conn, in: bufio.NewReader(conn)}
	client.lab.onClose(c.Close)
	if err := c.Say(limit); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Say exchanges one line within limit: the same server must answer with this line.
// After a failure each Say returns that failure.
func (c *Conversation) Say(limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = c.say(limit)
	}
	return c.err
}

func (c *Conversation) say(limit time.Duration) error {
	start := time.Now()
	c.said++
	line := fmt.Sprintf("line %d", c.said)
	_ = c.conn.SetDeadline(start.Add(limit))
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		return fmt.Errorf("failed to say %s: %w", line, err)
	}
	answer, err := c.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("no answer to %s from %s: %w", line, c.Server, err)
	}
	server, echoed, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	if c.Server == "" {
		c.Server = server
	}
	if server != c.Server || echoed != line {
		return fmt.Errorf("to %q, %s answered %q", line, c.Server, answer)
	}
	c.longest = max(c.longest, time.Since(start))
	return nil
}

// Keep exchanges lines in the background, one each interval and each within limit,
// until Close or a failure, which Err then returns. It may be called once.
func (c *Conversation) Keep(every, limit time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepStop != nil {
		cancel()
		return
	}
	done := make(chan struct{})
	c.keepStop, c.keepDone = cancel, done
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if c.Say(limit) != nil {
					return
				}
			}
		}
	}()
}

// Err is the first failure, nil while the connection lives.
func (c *Conversation) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Lines is the number of lines answered so far, and the longest time one took.
func (c *Conversation) Lines() (n int, longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = c.said
	if c.err != nil {
		n--
	}
	return n, c.longest
}

// Close ends the conversation; it may be called twice.
func (c *Conversation) Close() {
	c.mu.Lock()
	stop, done := c.keepStop, c.keepDone
	c.mu.Unlock()
	if stop != nil {
		stop()
		<-done // let the line in progress end, so that Err returns failures only
	}
	c.conn.Close()
}
