// This file makes the metric families of the daemon's state directly. For tens of
// thousands of servers the library's way, with a channel send and a check for each
// series, takes more than a second for fifteen series of ten thousand servers. The
// families are the same, which a test verifies. They are reused for a second, so that a
// second scraper costs nothing.

package metrics

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lvsd/cmd/internal/cached"
	"lvsd/cmd/internal/director"
)

// cacheTime is how old the response to a scrape may be, and with it the kernel's
// counters. The text may be older where clients do not read it, see [httpgzip.Age].
const cacheTime = time.Second

// state gathers the series of the view.
type state struct {
	view     func(context.Context) director.View
	families cached.Value[[]*dto.MetricFamily]
}

// Gather returns families that must not be modified.
func (s *state) Gather() ([]*dto.MetricFamily, error) {
	return s.families.Get(context.Background(), cacheTime, func([]*dto.MetricFamily) ([]*dto.MetricFamily, error) {
		b := newBulk()
		collect(s.view, emitter{bulk: b})
		return b.families(), nil
	})
}

// described is the description of a family.
type described struct {
	kind       dto.MetricType
	name, help string
	labels     []string // in the order in which values are given
	order      []int    // of the labels by name
	shape      string   // names of the labels: series of one shape can share values
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
	slots  []slot // rest of the newest block of memory

	// The labels of the previous series: those of a server follow each other.
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

// labels makes the pairs, or reuses those of the previous series. A label without a value
// is left out, which is the same to Prometheus.
func (b *bulk) labels(info *described, values []string) []*dto.LabelPair {
	if len(values) == 0 {
		return nil
	}
	if b.shape == info.shape && slices.Equal(b.values, values) {
		return b.pairs
	}
	pairs, made := make([]*dto.LabelPair, 0, len(values)), make([]dto.LabelPair, len(values))
	texts := make([]string, 2*len(values))
	for at, i := range info.order {
		if values[i] == "" {
			continue
		}
		name, value := &texts[2*at], &texts[2*at+1]
		*name, *value = info.labels[i], values[i]
		made[at].Name, made[at].Value = name, value
		pairs = append(pairs, &made[at])
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

// gatherers merges the families of several gatherers in the order of names.
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
