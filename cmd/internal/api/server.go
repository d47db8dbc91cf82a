package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/config"
)

// Daemon is what the server asks.
type Daemon interface {
	View(ctx context.Context) director.View
	Reload(ctx context.Context) error
	// Alive answers an error when one of the daemon's loops stands still.
	Alive(ctx context.Context) error
}

// Server answers over HTTP: the public listener reads only, the control socket
// may also change something.
type Server struct {
	Log     *slog.Logger
	Daemon  Daemon
	Events  *event.Recorder
	Metrics http.Handler
	Version string
	Started time.Time

	public  atomic.Pointer[listener]
	control *listener
}

// refreshLimit bounds how long a status waits for fresh counters: a kernel
// that does not answer must not keep the status away.
const refreshLimit = time.Second

// listener is an open port with the server that answers on it.
type listener struct {
	address string
	net.Listener
	http http.Server
}

// Status builds the status that every way of asking answers with.
func (s *Server) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	return Build(s.Daemon.View(ctx), s.Version, s.Started)
}

// reading is the handler of everything that changes nothing.
func (s *Server) reading() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		ctx, cancel := context.WithTimeout(r.Context(), refreshLimit)
		defer cancel()
		if err := s.Daemon.Alive(ctx); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, s.Status(r.Context()))
	})
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, s.Events.Recent())
	})
	return mux
}

// changing is the handler of the control socket.
func (s *Server) changing() *http.ServeMux {
	mux := s.reading()
	mux.HandleFunc("POST /control/v1/reload", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, NewVerdict(s.Daemon.Reload(r.Context()), s.Daemon.View(r.Context()).Config))
	})
	return mux
}

// Verdict is the answer to a reload.
type Verdict struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"` // of the configuration that runs now
	Errors []string `json:"errors"`
}

// NewVerdict splits a reload's error into its single mistakes.
func NewVerdict(err error, running *config.Config) Verdict {
	return Verdict{OK: err == nil, Hash: running.Hash, Errors: append([]string{}, Lines(err)...)}
}

// Lines lists the single mistakes in an error, each with its place.
func Lines(err error) []string {
	if err == nil {
		return nil
	}
	// Only errors.Join lists; fmt.Errorf with several %w is one sentence.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines, texts []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, Lines(e)...)
			texts = append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
		return []string{err.Error()}
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		var lines []string
		for _, m := range mistakes {
			lines = append(lines, m.Error())
		}
		return lines
	}
	return []string{err.Error()}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that went away is no concern of ours.
	_ = json.NewEncoder(w).Encode(body)
}

// PreparePublic takes part in start and reload: a new http_listen is opened
// before anything is changed, and a port that is taken refuses the change.
func (s *Server) PreparePublic(_, next *config.Config) (director.Change, error) {
	want := next.Global.HTTPListen
	old := s.public.Load()
	if old != nil && old.address == want {
		return director.Change{}, nil
	}
	l := &listener{address: want}
	if want != "" {
		ln, err := net.Listen("tcp", want)
		if err != nil {
			return director.Change{}, fmt.Errorf("%s: global.http_listen: failed to listen: %w (choose another address, or \"\" to turn it off)", next.File, err)
		}
		l.Listener = ln
	}
	return director.Change{
		Commit: func() {
			s.public.Store(l)
			s.serve(l, s.reading())
			if old != nil {
				go old.close() // answers under way may end; the loop waits for none
			}
		},
		Abort: l.close,
	}, nil
}

// OpenControl opens the control socket. A socket file that nobody answers on
// is a killed daemon's and is replaced; one that answers is another daemon's.
func (s *Server) OpenControl(path, group string) error {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("global.control_socket: another daemon answers on %s: stop it first, or give this one a socket of its own", path)
	}
	if err := os.MkdirAll(parent(path), 0o755); err != nil {
		return fmt.Errorf("global.control_socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("global.control_socket: failed to remove the one left behind: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("global.control_socket: failed to listen: %w", err)
	}
	l := &listener{address: path, Listener: ln}
	if err := protect(path, group); err != nil {
		l.close()
		return fmt.Errorf("global.control_socket: %w", err)
	}
	s.control = l
	return nil
}

// protect gives the socket to root alone, or to a group too.
func protect(path, group string) error {
	if group == "" {
		return os.Chmod(path, 0o600)
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("control_group: %w", err)
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("control_group %s has the id %q, which is no number", group, g.Gid)
	}
	if err := os.Chown(path, -1, id); err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}

func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "/"
}

// Run answers on the control socket until the context ends, then closes both.
func (s *Server) Run(ctx context.Context) error {
	s.serve(s.control, s.changing())
	<-ctx.Done()
	s.Close()
	return nil
}

// Close closes what is open. A Server that was never Run is closed too.
func (s *Server) Close() {
	if s.control != nil {
		s.control.close()
	}
	if l := s.public.Load(); l != nil {
		l.close()
	}
}

// serve answers in a goroutine that ends when the listener closes.
func (s *Server) serve(l *listener, h http.Handler) {
	if l.Listener == nil {
		return
	}
	// A scrape or a status is small and quick; a client that dribbles its
	// request holds a connection for seconds, not for ever. A reload may take
	// as long as it takes, so writing has no limit.
	l.http = http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	go func() {
		if err := l.http.Serve(l.Listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("stopped answering", "address", l.address, "reason", err)
		}
	}()
}

// closeLimit is how long an answer under way may take when its port closes.
const closeLimit = 2 * time.Second

func (l *listener) close() {
	if l.Listener == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if l.http.Shutdown(ctx) != nil {
		l.http.Close()
	}
	l.Listener.Close()
}
