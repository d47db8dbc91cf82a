// This file has the response to a scrape. For tens of thousands of servers Prometheus's
// library takes twice as long to write the families as it takes to make them, and
// compresses at a level that takes longer still. The families of the daemon's state are
// written here, byte by byte as the library would, which a test verifies. The text is
// reused for a second.

package metrics

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lvsd/cmd/internal/httpgzip"
)

// contentType is Prometheus's text format, which every scraper accepts.
var contentType = string(expfmt.NewFormat(expfmt.TypeTextPlain))

// Handler serves scrapes. The text is made by one at a time, and those that come
// within a second get the same. Nothing is held while it is written: a client that
// does not read delays no other.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := m.text(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", contentType)
		body.Write(w, r)
	})
}

// errBusy is the result for a scrape that would wait for longer than Prometheus does.
var errBusy = errors.New("the series could not be read in time")

// text returns the text of a scrape, made now or within the last second.
func (m *Metrics) text(ctx context.Context) (*httpgzip.Body, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, scrapeLimit, errBusy)
	defer cancel()
	body, err := m.body.Get(ctx, httpgzip.Age(cacheTime), func(before *httpgzip.Body) (*httpgzip.Body, error) {
		families, err := m.Gather()
		if err != nil {
			return nil, err
		}
		size := 0
		if before != nil {
			size = before.Len()
		}
		plain, err := write(families, size)
		return httpgzip.NewBody(plain), err
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return body, err
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
