package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"math"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lvsd/cmd/internal/director"
)

// TestTextIsTheLibrarys: byte by byte, over every series and odd values.
func TestTextIsTheLibrarys(t *testing.T) {
	odd := prometheus.NewRegistry()
	gauges := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "odd", Help: "a \\ and\na \" line"}, []string{"a", "b"})
	odd.MustRegister(gauges)
	for _, v := range []float64{0, 1, -1, 999999, 1e6, -1e6, 1234567, 0.1, 1e-7, 1.7e18, 1 << 53, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64, 1795701234.5678} {
		gauges.WithLabelValues("x", time.Duration(v).String()+"\\ \"\n").Set(v)
	}
	for _, g := range []prometheus.Gatherer{everything(view), odd} {
		families, err := g.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got, err := write(families, 0)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&want, f); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("got\n%s\nwant\n%s", got, want.Bytes())
		}
	}
}

// ask scrapes as Prometheus does.
func ask(t testing.TB, m *Metrics, encoding string) (string, *httptest.ResponseRecorder) {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1")
	r.Header.Set("Accept-Encoding", encoding)
	m.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	if encoding == "" {
		return w.Body.String(), w
	}
	z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), w
}

// TestScrapesShareOneText: packed or not, within a second, and it is what a library
// reads.
func TestScrapesShareOneText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, views := New("", ""), 0
		m.Watch(func(ctx context.Context) director.View { views++; return view(ctx) })
		plain, w := ask(t, m, "")
		packed, z := ask(t, m, "gzip")
		if plain != packed || views != 1 {
			t.Errorf("%d views; packed and plain are the same: %v", views, plain == packed)
		}
		if w.Header().Get("Content-Encoding") != "" || z.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%v %v", w.Header(), z.Header())
		}
		dec := expfmt.NewDecoder(bytes.NewBufferString(plain), expfmt.ResponseFormat(w.Header()))
		n := 0
		for {
			var f dto.MetricFamily
			if err := dec.Decode(&f); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < 40 {
			t.Errorf("%d families read", n)
		}
		time.Sleep(cacheTime) // of the bubble's time
		if ask(t, m, "gzip"); views != 2 {
			t.Errorf("%d views after a second", views)
		}
	})
}

// TestAScrapeDoesNotWaitForEver behind one that hangs.
func TestAScrapeDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, release := New("", ""), make(chan struct{})
		m.Watch(func(ctx context.Context) director.View { <-release; return view(ctx) })
		first := make(chan struct{})
		go func() {
			defer close(first)
			m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		}()
		synctest.Wait()
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != 503 {
			t.Errorf("answers %d", w.Code)
		}
		close(release)
		<-first
	})
}
