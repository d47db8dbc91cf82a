// This file compares the health of real servers as two directors see it.

package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// maxHealth is how many servers a State carries; above that it has only the digest.
const maxHealth = 500

// digest covers health and weights, in the order of the file. It is made every second,
// so it allocates no string for each server.
func (h Health) digest() string {
	sum := sha256.New()
	var line []byte
	for _, svc := range h.Services {
		line = append(append(line[:0], svc.Name...), '\n')
		sum.Write(line)
		for _, s := range svc.Servers {
			line = append(append(line[:0], s.Address...), ' ')
			line = append(append(line, s.Health...), ' ')
			sum.Write(append(strconv.AppendInt(line, int64(s.Weight), 10), '\n'))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// NewHealth counts the servers and computes the digest.
func NewHealth(services []ServiceHealth) Health {
	h := Health{Services: services}
	for _, svc := range services {
		h.Servers += len(svc.Servers)
		for _, s := range svc.Servers {
			if s.Health == "down" {
				h.Down++
			}
		}
	}
	h.Digest = h.digest()
	return h
}

// server identifies a real server of a service.
type server struct{ service, address string }

// differing lists the servers whose health differs, in the order of the file. A server
// that only one of them has is a difference of configuration, and so is a weight
// while the configurations differ.
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
			if both && (other.Health != s.Health || other.Weight != s.Weight && !configDiffers) {
				all = append(all, HealthDifference{Service: svc.Name, RealServer: s.Address, Local: s, Peer: other})
			}
		}
	}
	return all
}

// maxDifferences is how many differing servers are kept for display.
const maxDifferences = 32

// watch records since when the health of a server differs. Checks of two directors end
// at different times, so that short differences are normal.
type watch map[server]time.Time

// next applies what differs now, and returns what has differed for longer than the
// checks explain.
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
