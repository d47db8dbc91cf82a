package server

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

// daemonOn is a server on a control socket with a history of its own, until
// stop.
func daemonOn(t *testing.T, path string, r *event.Recorder, folder string) (stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &Server{Log: log, Daemon: &stub{view: healthy()}, Events: r, Journal: event.NewJournal(folder, r, log), Metrics: http.NotFoundHandler()}
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- s.Journal.Run(ctx) }()
	return func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

func happen(r *event.Recorder, names ...string) {
	for _, n := range names {
		r.Record(event.Event{Kind: event.KindWeight, To: n})
	}
}

// TestEventsAreFollowedOverARestart: a stream begins with the history, continues with
// new events, and ends with the daemon at once; by the number of the last event the
// next stream misses nothing and repeats nothing.
func TestEventsAreFollowedOverARestart(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "control.sock")
	client := api.NewClient(path)
	got := make(chan event.Event)
	follow := func(q api.EventQuery) chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- client.FollowEvents(t.Context(), q, func(e event.Event) error { got <- e; return nil })
		}()
		return ended
	}
	var last event.Event
	expect := func(names ...string) {
		t.Helper()
		for _, want := range names {
			select {
			case last = <-got:
				if last.To != want {
					t.Fatalf("%s, want %s", last.To, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s did not come", want)
			}
		}
	}
	r := &event.Recorder{}
	stop := daemonOn(t, path, r, folder)
	happen(r, "1", "2")
	ended := follow(api.EventQuery{})
	expect("1", "2")
	happen(r, "3")
	expect("3")
	begun := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if took := time.Since(begun); took >= closeLimit {
		t.Errorf("a stream held the daemon's end up for %v", took)
	}
	r = &event.Recorder{}
	stop = daemonOn(t, path, r, folder)
	defer stop()
	happen(r, "4")
	follow(api.EventQuery{After: last.ID})
	expect("4")
	happen(r, "5")
	expect("5")
	all, err := client.Events(t.Context(), api.EventQuery{Since: time.Hour})
	if err != nil || len(all) != 5 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestEventQueriesThatMakeNoSense(t *testing.T) {
	s := newServer(t, &stub{view: healthy()})
	change, err := s.ReadPublic(configFor("127.0.0.1:0"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	for _, q := range []string{"since=yesterday", "after=-1", "limit=0", "limit=1000000000", "follow=maybe"} {
		resp, err := http.Get("http://" + s.public.Load().Addr().String() + "/api/v1/events?" + q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", q, resp.Status)
		}
	}
}

// TestFollowersAreBounded: one above the limit is refused, and one that ends makes
// room.
func TestFollowersAreBounded(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "control.sock")
	r := &event.Recorder{}
	stop := daemonOn(t, path, r, folder)
	defer stop()
	happen(r, "1")
	client := api.NewClient(path)
	heard, ended := make(chan struct{}), make(chan error, followers)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range followers {
		go func() {
			ended <- client.FollowEvents(ctx, api.EventQuery{}, func(event.Event) error { heard <- struct{}{}; return nil })
		}()
		<-heard
	}
	if err := client.FollowEvents(t.Context(), api.EventQuery{}, nil); err == nil || !strings.Contains(err.Error(), "are following the events already") {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	for range followers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		stopHere := context.Canceled
		if err := client.FollowEvents(t.Context(), api.EventQuery{}, func(event.Event) error { return stopHere }); err == stopHere {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("no room after all have gone: %v", err)
		}
	}
}

// pipes is a listener in memory, so that the fake clock runs.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestIdleStream: a stream of events without any goes on, by either version of HTTP.
func TestIdleStream(t *testing.T) {
	for name, set := range map[string]func(*http.Protocols, bool){"HTTP/1": (*http.Protocols).SetHTTP1, "HTTP/2": (*http.Protocols).SetUnencryptedHTTP2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, &stub{view: healthy()})
				server := s.server(s.publicHandler())
				server.WriteTimeout, server.Protocols = 30*time.Second, new(http.Protocols)
				set(server.Protocols, true)
				listener := make(pipes)
				go func() { _ = server.Serve(listener) }()
				ctx, leave := context.WithCancel(t.Context())
				transport := &http.Transport{Protocols: server.Protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					listener <- there
					return here, nil
				}}
				r, err := http.NewRequestWithContext(ctx, "GET", "http://lb1/api/v1/events?follow=1", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(resp.Body)
				begin := time.Now()
				for range 40 {
					if !lines.Scan() {
						t.Fatalf("the stream ended after %v: %v", time.Since(begin), lines.Err())
					}
				}
				if took := time.Since(begin); took != 40*followBeat {
					t.Errorf("40 lines within %v", took)
				}
				leave()
				close(listener)
				transport.CloseIdleConnections()
				_ = server.Close()
				synctest.Wait()
			})
		})
	}
}
