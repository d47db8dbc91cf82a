// This file holds two directors against each other: what the one thinks of the
// real servers, and what the other does. It never asks anybody.
//
// PURE.

package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// maxHealth is how many servers a State carries; of more there is the digest.
const maxHealth = 500

// digest is of verdicts and weights, in the order of the file. It is made every
// second, so it makes no text of its own for each server.
func (h Health) digest() string {
	sum := sha256.New()
	var line []byte
	for _, svc := range h.Services {
		line = append(append(line[:0], svc.Name...), '\n')
		sum.Write(line)
		for _, s := range svc.Servers {
			line = append(append(line[:0], s.Address...), ' ')
			line = append(append(line, s.Verdict...), ' ')
			sum.Write(append(strconv.AppendInt(line, int64(s.Weight), 10), '\n'))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// NewHealth counts and digests what a director thinks of its servers.
func NewHealth(services []ServiceHealth) Health {
	h := Health{Services: services}
	for _, svc := range services {
		h.Servers += len(svc.Servers)
		for _, s := range svc.Servers {
			if s.Verdict == "down" {
				h.Down++
			}
		}
	}
	h.Digest = h.digest()
	return h
}

// server names a real server of a service.
type server struct{ service, address string }

// differing lists the servers that two directors see otherwise, in the order of
// the file. A server that only one of them has is a matter of the configuration,
// and so is a weight while that differs.
func differing(own, peer Health, configDiffers bool) []HealthDifference {
	if own.Digest == peer.Digest {
		return nil
	}
	theirs := map[server]ServerHealth{}
	for _, svc := range peer.Services {
		for _, s := range svc.Servers {
			theirs[server{svc.Name, s.Address}] = s
		}
	}
	var all []HealthDifference
	for _, svc := range own.Services {
		for _, s := range svc.Servers {
			other, both := theirs[server{svc.Name, s.Address}]
			if both && (other.Verdict != s.Verdict || other.Weight != s.Weight && !configDiffers) {
				all = append(all, HealthDifference{Service: svc.Name, RealServer: s.Address, Own: s, Peer: other})
			}
		}
	}
	return all
}

// maxDifferences is how many differing servers are kept to be shown.
const maxDifferences = 32

// watch remembers since when two directors see a server otherwise: checks of two
// directors end at different times, so what differs for a moment is no difference.
type watch map[server]time.Time

// next takes up what differs now, and answers what has differed for longer than
// its checks explain.
func (w watch) next(now time.Time, differ []HealthDifference, patience func(service, realServer string) time.Duration) (watch, []HealthDifference) {
	seen := make(watch, len(differ))
	var lasting []HealthDifference
	for _, d := range differ {
		s := server{d.Service, d.RealServer}
		since, known := w[s]
		if !known {
			since = now
		}
		seen[s] = since
		if now.Sub(since) >= patience(d.Service, d.RealServer) {
			lasting = append(lasting, d)
		}
	}
	return seen, lasting
}
