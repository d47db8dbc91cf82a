// This file connects the exchange with the other directors to the daemon.

package daemon

import (
	"context"
	"log/slog"
	"net"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/peers"
	"lvsd/cmd/internal/reload"
	"lvsd/cmd/internal/trybind"
	"lvsd/config"
)

// newExchange makes the exchange. Its functions are called only while it runs,
// when the other parts exist.
func (d *Daemon) newExchange() *peers.Exchange {
	return peers.New(peers.Options{
		Log:        d.log.Logger,
		LocalState: func() peers.State { return d.server.PeerState(d.knownConnections) },
		Drain:      func(ctx context.Context, service, real string) peers.Drain { return d.server.Drain(ctx, service, real) },
		Edit:       d.edit,
		Wake:       func() { d.director.Wake() },
		OnChange:   d.peerChanged,
	})
}

// peerView is what the director reads from the exchange.
type peerView struct{ d *Daemon }

// OwnConnections is what this director reported to its peers last.
func (p peerView) OwnConnections() int { return int(p.d.connections.Load()) }

func (p peerView) Peers() []decision.Peer {
	var all []decision.Peer
	for _, q := range p.d.peers.Peers() {
		peer := decision.Peer{Name: q.Name, Up: q.Up, Unreachable: q.Unreachable(time.Now()), RequestedAt: q.RequestedAt, Error: q.Error, WaitReason: q.State.WaitReason, Connections: -1,
			Hash: q.State.Hash, Probed: q.State.Probed, Answers: q.Up && q.Error == "",
			Instances: map[string]decision.PeerInstance{}, Announces: map[string]decision.PeerAnnounce{}}
		if c := q.State.Connections; c != nil {
			peer.Connections = c.Total()
		}
		for _, e := range q.State.Instances {
			peer.Instances[e.Name] = decision.PeerInstance{State: e.State, Standby: e.Standby}
		}
		for _, a := range q.State.Announces {
			peer.Announces[a.Name] = decision.PeerAnnounce{Announced: a.Announced, Serving: a.Serving, Kept: a.Kept}
		}
		all = append(all, peer)
	}
	return all
}

// countTimeout bounds how long a peer's request waits for the connections to be
// counted.
const countTimeout = 500 * time.Millisecond

// knownConnections counts the kernel's connections; nil when that fails.
func (d *Daemon) knownConnections() *peers.Connections {
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	origins, err := d.reconciler.ConnectionOrigins(ctx)
	if err != nil {
		d.connections.Store(-1)
		return nil
	}
	known := &peers.Connections{Local: origins.Local, Synced: origins.Synced}
	d.connections.Store(int64(known.Total()))
	return known
}

func (d *Daemon) peerChanged(c peers.Change) {
	d.events.Record(event.Event{At: c.At, Kind: event.KindPeer, Peer: c.Peer, From: c.From, To: c.To, Reason: c.Reason})
}

// exchangeReader makes the exchange a participant in starts and reloads.
func exchangeReader(x *peers.Exchange) reload.Reader {
	return func(next *config.Config) reload.Participant {
		prepare := x.Read(next)
		return func(_, _ *config.Config) (reload.Change, error) {
			commit, abort, err := prepare()
			return reload.Change{Commit: commit, Abort: abort}, err
		}
	}
}

// tryExchange returns what would be rejected of [peers].
func tryExchange(log *slog.Logger) reload.Reader {
	return exchangeReader(peers.New(peers.Options{Log: log, Listen: func(address string) (net.Listener, error) { return unopened{}, trybind.TCP(address) }}))
}

// unopened stands for the listener of a trial.
type unopened struct{ net.Listener }

func (unopened) Close() error { return nil }
