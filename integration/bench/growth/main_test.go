package main

import (
	"math"
	"strings"
	"testing"
)

func TestExponent(t *testing.T) {
	var all []*series
	for line := range strings.Lines(`goos: linux
BenchmarkLinear/servers=100-2   	 10	   2000 ns/op	 3 MB/s	 50 B/op	 7 allocs/op
BenchmarkLinear/servers=1000-2  	 10	  20000 ns/op	 3 MB/s	 50 B/op	 7 allocs/op
BenchmarkSquare/peers=4         	 10	     16 ns/op
BenchmarkSquare/peers=8         	 10	     64 ns/op
BenchmarkOther/new-2            	 10	     64 ns/op
ok  	lvsd/config	1.2s
`) {
		all = read(all, line)
	}
	want := []float64{1, 0, 0, 2}
	if len(all) != len(want) {
		t.Fatalf("%d series, want %d", len(all), len(want))
	}
	for i, s := range all {
		if got := exponent(s.points); math.Abs(got-want[i]) > 1e-9 {
			t.Errorf("%s by %s, %s: %v, want %v", s.name, s.dimension, s.unit, got, want[i])
		}
	}
}
