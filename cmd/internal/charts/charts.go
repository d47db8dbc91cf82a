package charts

import (
	"context"
	"math"
	"sync"
	"time"

	"lvsd/cmd/internal/director"
	"lvsd/ipvs"
)

const (
	// Points is the number of values of each series, one Every so often: ten minutes.
	Points = 60
	Every  = 10 * time.Second
	// seriesLimit bounds the memory, at 800 bytes a series. Services come first, then
	// real servers in the order of the file.
	seriesLimit = 10_000
	// Unknown stands for a missing value: before a server was added, and where
	// counters were reset.
	Unknown = -1
)

// Ring has the series. The zero value is ready to use.
type Ring struct {
	mu      sync.Mutex
	samples int // samples so far: the newest is in slot (taken-1) % Points
	at      [Points]time.Time
	series  map[key]*series
}

// key is a real server of a service, or the service itself with an empty server.
type key struct{ service, server string }

type series struct {
	sample   int // number of its last sample
	last     ipvs.Counters
	active   [Points]float32
	arriving [Points]float32 // connections per second
	bytes    [Points]float32 // per second
}

// Chart is one series, oldest first, with as many values as there are times.
type Chart struct {
	Active      []float64 `json:"active_connections"`
	Connections []float64 `json:"connections_per_second"`
	Bytes       []float64 `json:"bytes_per_second"`
}

// Service is the charts of a service.
type Service struct {
	Name string `json:"name"`
	Chart
	Servers []Server `json:"real_servers"`
}

// Server is the charts of a real server.
type Server struct {
	Address string `json:"address"`
	Chart
}

// Charts is the response of /api/v1/charts.
type Charts struct {
	At       []time.Time `json:"at"`
	Services []Service   `json:"virtual_services"`
}

// Run takes a sample Every so often until the context ends. It calls look, and view
// where the kernel's counters are older than that: view reads them.
func (r *Ring) Run(ctx context.Context, look func() director.View, view func(context.Context) director.View) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		v := look()
		if v.At.Sub(v.Kernel.At) > Every {
			limit, cancel := context.WithTimeout(ctx, Every/2)
			v = view(limit)
			cancel()
		}
		r.Sample(v)
	}
}

// Sample adds a sample from a view. It ignores a view whose counters are not newer than
// the last sample.
func (r *Ring) Sample(v director.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.series == nil {
		r.series = map[key]*series{}
	}
	before := r.newest()
	if !v.Kernel.Valid || !v.Kernel.At.After(before) {
		return
	}
	r.at[r.samples%Points] = v.Kernel.At
	r.samples++
	passed := v.Kernel.At.Sub(before).Seconds()
	for i := range v.Decision.Services {
		p := &v.Decision.Services[i]
		stats := v.Kernel.Stats[p.Key]
		var active uint64
		for _, d := range stats.Destinations {
			active += uint64(d.Active)
		}
		r.record(key{service: p.Name}, float32(active), stats.Counters, passed)
	}
	for i := range v.Decision.Services {
		p := &v.Decision.Services[i]
		stats := v.Kernel.Stats[p.Key]
		for j := range p.Servers {
			d := stats.Destinations[p.Servers[j].Address]
			r.record(key{p.Name, p.Servers[j].ID.RealServer}, float32(d.Active), d.Counters, passed)
		}
	}
	for k, s := range r.series {
		if r.samples-s.sample >= Points {
			delete(r.series, k) // removed from the configuration
		}
	}
}

func (r *Ring) newest() time.Time {
	if r.samples == 0 {
		return time.Time{}
	}
	return r.at[(r.samples-1)%Points]
}

// record adds the newest values to a series.
func (r *Ring) record(k key, active float32, now ipvs.Counters, passed float64) {
	s := r.series[k]
	if s == nil {
		if len(r.series) >= seriesLimit {
			return
		}
		s = &series{}
		r.series[k] = s
	}
	for missed := max(s.sample, r.samples-Points); missed < r.samples-1; missed++ {
		s.set(missed%Points, Unknown, Unknown, Unknown)
	}
	arriving, bytes := float32(Unknown), float32(Unknown)
	if s.sample == r.samples-1 && s.sample > 0 && now.Connections >= s.last.Connections && total(now) >= total(s.last) {
		arriving = float32(float64(now.Connections-s.last.Connections) / passed)
		bytes = float32(float64(total(now)-total(s.last)) / passed)
	}
	s.set((r.samples-1)%Points, active, arriving, bytes)
	s.sample, s.last = r.samples, now
}

func total(c ipvs.Counters) uint64 { return c.BytesIn + c.BytesOut }

func (s *series) set(slot int, active, arriving, bytes float32) {
	s.active[slot], s.arriving[slot], s.bytes[slot] = active, arriving, bytes
}

// Charts returns the charts of the named services with their real servers; without names
// those of all services, without real servers.
func (r *Ring) Charts(v director.View, names ...string) Charts {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := max(r.samples-Points, 0)
	out := Charts{At: []time.Time{}, Services: []Service{}}
	for i := first; i < r.samples; i++ {
		out.At = append(out.At, r.at[i%Points])
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	for i := range v.Decision.Services {
		p := &v.Decision.Services[i]
		if len(names) > 0 && !wanted[p.Name] {
			continue
		}
		s := Service{Name: p.Name, Chart: r.chart(key{service: p.Name}, first), Servers: []Server{}}
		for j := range p.Servers {
			if address := p.Servers[j].ID.RealServer; len(names) > 0 {
				s.Servers = append(s.Servers, Server{address, r.chart(key{p.Name, address}, first)})
			}
		}
		out.Services = append(out.Services, s)
	}
	return out
}

// chart reads a series; it is empty where there is none.
func (r *Ring) chart(k key, first int) Chart {
	c := Chart{Active: []float64{}, Connections: []float64{}, Bytes: []float64{}}
	s := r.series[k]
	for i := first; s != nil && i < r.samples; i++ {
		slot := i % Points
		if i >= s.sample || s.sample-i > Points {
			c.add(Unknown, Unknown, Unknown)
			continue
		}
		c.add(s.active[slot], s.arriving[slot], s.bytes[slot])
	}
	return c
}

func (c *Chart) add(active, arriving, bytes float32) {
	c.Active = append(c.Active, float64(active))
	c.Connections = append(c.Connections, math.Round(float64(arriving)*100)/100)
	c.Bytes = append(c.Bytes, math.Round(float64(bytes)))
}
