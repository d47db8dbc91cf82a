// The families of the daemon's state made directly, for tens of thousands of
// servers: the library's own way, one channel send and one check a series, takes
// more than a second for what is fifteen series of ten thousand. What is made is
// the same, which a test holds; and it is kept for a second, so that a second
// Prometheus, or a page, costs nothing.

package metrics

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lvsd/cmd/internal/director"
)

// keptFor is how old the answer to a scrape may be; the kernel's counters, which
// are read for it, may be as old.
const keptFor = time.Second

// state is the gatherer of what the view shows.
type state struct {
	view func(context.Context) director.View

	mu   sync.Mutex // one makes them, others wait for it
	at   time.Time
	kept []*dto.MetricFamily
}

// Gather answers families that nobody may change.
func (s *state) Gather() ([]*dto.MetricFamily, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || time.Since(s.at) >= keptFor {
		b := newBulk()
		collect(s.view, emitter{bulk: b})
		s.kept, s.at = b.families(), time.Now()
	}
	return s.kept, nil
}

// described is what a family is made of.
type described struct {
	kind       dto.MetricType
	name, help string
	labels     []string // in the order in which values are given
	order      []int    // of the labels by name
	shape      string   // the labels' names: those of one shape may share values
}

func describe(kind dto.MetricType, name, help string, labels []string) *described {
	d := &described{kind: kind, name: name, help: help, labels: labels, shape: strings.Join(labels, " ")}
	for i := range labels {
		d.order = append(d.order, i)
	}
	slices.SortFunc(d.order, func(a, b int) int { return cmp.Compare(labels[a], labels[b]) })
	return d
}

// bulk collects series into families.
type bulk struct {
	byDesc map[*prometheus.Desc]*dto.MetricFamily
	slots  []slot // what is left of the last piece of memory

	// The labels of the series before: a server's series come one after the other.
	shape  string
	values []string
	pairs  []*dto.LabelPair
}

// slot is the memory of one series.
type slot struct {
	metric  dto.Metric
	gauge   dto.Gauge
	counter dto.Counter
	value   float64
}

const slotsAtOnce = 512

func newBulk() *bulk { return &bulk{byDesc: make(map[*prometheus.Desc]*dto.MetricFamily, len(all))} }

func (b *bulk) add(d *prometheus.Desc, v float64, values []string) {
	f := b.byDesc[d]
	info := infos[d]
	if f == nil {
		f = &dto.MetricFamily{Name: &info.name, Help: &info.help, Type: info.kind.Enum()}
		b.byDesc[d] = f
	}
	if len(b.slots) == 0 {
		b.slots = make([]slot, slotsAtOnce)
	}
	s := &b.slots[0]
	b.slots = b.slots[1:]
	s.value = v
	if info.kind == dto.MetricType_COUNTER {
		s.counter.Value = &s.value
		s.metric.Counter = &s.counter
	} else {
		s.gauge.Value = &s.value
		s.metric.Gauge = &s.gauge
	}
	s.metric.Label = b.labels(info, values)
	f.Metric = append(f.Metric, &s.metric)
}

// labels makes the pairs, or takes those of the series before.
func (b *bulk) labels(info *described, values []string) []*dto.LabelPair {
	if len(values) == 0 {
		return nil
	}
	if b.shape == info.shape && slices.Equal(b.values, values) {
		return b.pairs
	}
	pairs, made := make([]*dto.LabelPair, len(values)), make([]dto.LabelPair, len(values))
	texts := make([]string, 2*len(values))
	for at, i := range info.order {
		name, value := &texts[2*at], &texts[2*at+1]
		*name, *value = info.labels[i], values[i]
		made[at].Name, made[at].Value = name, value
		pairs[at] = &made[at]
	}
	b.shape, b.values, b.pairs = info.shape, append(b.values[:0], values...), pairs
	return pairs
}

func (b *bulk) families() []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(b.byDesc))
	for _, f := range b.byDesc {
		out = append(out, f)
	}
	return out
}

// gatherers puts the answers of several together, in the order of names.
func gatherers(all ...prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		var out []*dto.MetricFamily
		for _, g := range all {
			families, err := g.Gather()
			if err != nil {
				return nil, err
			}
			out = append(out, families...)
		}
		slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
		return out, nil
	})
}
