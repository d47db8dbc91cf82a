// A scrape's answer. Prometheus's library writes any family well, and takes twice as
// long over tens of thousands of servers as making their series takes; and it packs
// the text by a level that takes longer still. So the families of the daemon's state
// are written here, byte by byte as the library would, which a test holds, and what
// was written is kept for a second, packed as it was asked for.

package metrics

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lvsd/cmd/internal/httpgzip"
)

// kept is the last answer, plain and packed.
type kept struct {
	at            time.Time
	plain, zipped []byte
}

// contentType is Prometheus's text format, which every scraper takes.
var contentType = string(expfmt.NewFormat(expfmt.TypeTextPlain))

// Handler answers scrapes, one after the other: those that come within a second get
// the same text. One that would wait for longer than Prometheus does is told so.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := time.NewTimer(scrapeLimit)
		defer limit.Stop()
		select {
		case m.turn <- struct{}{}:
			defer func() { <-m.turn }()
		case <-limit.C:
			http.Error(w, "the series could not be read in time", http.StatusServiceUnavailable)
			return
		case <-r.Context().Done():
			return
		}
		packed := httpgzip.Taken(r)
		text, err := m.text(packed)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		if packed {
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text) // who asked is gone, or not
	})
}

// text is the answer, made or kept. Its caller has the turn.
func (m *Metrics) text(packed bool) ([]byte, error) {
	if m.kept.at.IsZero() || time.Since(m.kept.at) >= keptFor {
		families, err := m.Gather()
		if err != nil {
			return nil, err
		}
		plain, err := write(families, len(m.kept.plain))
		if err != nil {
			return nil, err
		}
		m.kept = kept{at: time.Now(), plain: plain}
	}
	if !packed {
		return m.kept.plain, nil
	}
	if m.kept.zipped == nil {
		m.kept.zipped = httpgzip.Pack(m.kept.plain)
	}
	return m.kept.zipped, nil
}

// write makes the text; size is what to expect.
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

// appendValue writes a whole number, which most are, without the search for the
// shortest fraction.
func appendValue(out []byte, v float64) []byte {
	if whole := int64(v); float64(whole) == v && whole > -1e6 && whole < 1e6 && (whole != 0 || 1/v > 0) {
		return strconv.AppendInt(out, whole, 10)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}
