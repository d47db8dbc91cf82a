// This file has the response to a scrape. For tens of thousands of servers Prometheus's
// library takes twice as long to write the families as it takes to make them, and
// compresses at a level that takes longer still. The families of the daemon's state are
// written here, byte by byte as the library would, which a test verifies. The text is
// kept for a second, compressed as needed.

package metrics

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lvsd/cmd/internal/httpgzip"
)

// cachedText is the last text, plain and compressed.
type cachedText struct {
	at            time.Time
	plain, zipped []byte
}

// contentType is Prometheus's text format, which every scraper accepts.
var contentType = string(expfmt.NewFormat(expfmt.TypeTextPlain))

// Handler serves scrapes. The text is made by one at a time, and those that come
// within a second get the same. Nothing is held while it is written: a client that
// does not read delays no other.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gzipped := httpgzip.Accepted(r)
		text, err := m.text(r.Context(), gzipped)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		if gzipped {
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text) // the client may be gone
	})
}

// errBusy is the result for a scrape that would wait for longer than Prometheus does.
var errBusy = errors.New("the series could not be read in time")

// text returns the text of a scrape, made now or within the last second. It must not
// be modified.
func (m *Metrics) text(ctx context.Context, gzipped bool) ([]byte, error) {
	limit := time.NewTimer(scrapeLimit)
	defer limit.Stop()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-limit.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.kept.at.IsZero() || time.Since(m.kept.at) >= cacheTime {
		families, err := m.Gather()
		if err != nil {
			return nil, err
		}
		plain, err := write(families, len(m.kept.plain))
		if err != nil {
			return nil, err
		}
		m.kept = cachedText{at: time.Now(), plain: plain}
	}
	if !gzipped {
		return m.kept.plain, nil
	}
	if m.kept.zipped == nil {
		m.kept.zipped = httpgzip.Compress(m.kept.plain)
	}
	return m.kept.zipped, nil
}

// write makes the text; size is the expected length.
func write(families []*dto.MetricFamily, size int) ([]byte, error) {
	out := make([]byte, 0, size+size/8+4096)
	for _, f := range families {
		if t := f.GetType(); t != dto.MetricType_GAUGE && t != dto.MetricType_COUNTER {
			b := bytes.NewBuffer(out)
			if _, err := expfmt.MetricFamilyToText(b, f); err != nil {
				return nil, err
			}
			out = b.Bytes()
			continue
		}
		out = writeFamily(out, f)
	}
	return out, nil
}

var (
	inHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	inLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// writeFamily writes gauges or counters.
func writeFamily(out []byte, f *dto.MetricFamily) []byte {
	name := f.GetName()
	kind := "gauge"
	if f.GetType() == dto.MetricType_COUNTER {
		kind = "counter"
	}
	out = append(out, "# HELP "+name+" "...)
	out = append(out, inHelp.Replace(f.GetHelp())...)
	out = append(out, "\n# TYPE "+name+" "+kind+"\n"...)
	for _, s := range f.Metric {
		out = append(out, name...)
		between := byte('{')
		for _, l := range s.Label {
			out = append(out, between)
			between = ','
			out = append(out, l.GetName()...)
			out = append(out, `="`...)
			out = appendLabel(out, l.GetValue())
			out = append(out, '"')
		}
		if len(s.Label) > 0 {
			out = append(out, '}')
		}
		out = append(out, ' ')
		v := s.GetGauge().GetValue()
		if s.Counter != nil {
			v = s.Counter.GetValue()
		}
		out = append(appendValue(out, v), '\n')
	}
	return out
}

func appendLabel(out []byte, v string) []byte {
	if strings.ContainsAny(v, "\\\n\"") {
		v = inLabel.Replace(v)
	}
	return append(out, v...)
}

// appendValue writes an integer, the usual case, without the search for the shortest
// decimal fraction.
func appendValue(out []byte, v float64) []byte {
	if whole := int64(v); float64(whole) == v && whole > -1e6 && whole < 1e6 && (whole != 0 || 1/v > 0) {
		return strconv.AppendInt(out, whole, 10)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}
