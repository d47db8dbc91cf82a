package httpgzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"
)

func TestTaken(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP;q=0.5": true, "br": false, "gzip;q=0": false, "gzip; q=0, br": false, "xgzip": false,
	} {
		if got := Accepted(&http.Request{Header: http.Header{"Accept-Encoding": {accept}}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestPack(t *testing.T) {
	want := bytes.Repeat([]byte("lvsd_up 1\n"), 1000)
	z, err := gzip.NewReader(bytes.NewReader(Compress(want)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
