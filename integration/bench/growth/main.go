// Command growth copies the output of go test -bench from standard input and prints how
// the cost of each benchmark grows with its size: of sub-benchmarks such as
// BenchmarkParse/servers=100 and /servers=1000 the exponent e of cost = c × size^e, fitted
// to the logarithms of all sizes. 1 is linear. It ends with exit code 1 when no benchmark
// has sizes, when one fails, or when an exponent is above what noise makes of linear growth.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// most is the greatest exponent that passes for linear: sorting, and the caches of a
// processor, make a little more than 1 of it.
const most = 1.25

// sized is a benchmark with a size in its name: name, dimension, size.
var sized = regexp.MustCompile(`^Benchmark(\S*)/(\w+)=(\d+)(?:-\d+)?$`)

// measured are the units that are fitted; others, such as MB/s, are rates.
var measured = map[string]bool{"ns/op": true, "B/op": true, "allocs/op": true, "octets/op": true, "cpu-ms/op": true}

type series struct {
	name, dimension, unit string
	points                []point
}

type point struct{ size, cost float64 }

func main() {
	var all []*series
	failed := false
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(lines.Text())
		failed = failed || strings.HasPrefix(lines.Text(), "FAIL") || strings.HasPrefix(lines.Text(), "--- FAIL")
		all = read(all, lines.Text())
	}
	fmt.Printf("\n%-24s %-10s %-10s %14s %14s %9s\n", "benchmark", "by", "cost", "of the least", "of the most", "exponent")
	for _, s := range all {
		if len(s.points) < 2 {
			continue
		}
		first, last, e := s.points[0], s.points[len(s.points)-1], exponent(s.points)
		verdict := ""
		if e > most {
			verdict, failed = "  more than linear", true
		}
		fmt.Printf("%-24s %-10s %-10s %14s %14s %9.2f%s\n", s.name, s.dimension, s.unit, show(first), show(last), e, verdict)
	}
	if failed || len(all) == 0 || lines.Err() != nil {
		fmt.Println("FAILED")
		os.Exit(1)
	}
}

// read adds the costs on one line of output: a name, the number of runs, and pairs of a
// value and its unit.
func read(all []*series, line string) []*series {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return all
	}
	m := sized.FindStringSubmatch(fields[0])
	if m == nil {
		return all
	}
	size, _ := strconv.ParseFloat(m[3], 64)
	for i := 2; i+1 < len(fields); i += 2 {
		cost, err := strconv.ParseFloat(fields[i], 64)
		if unit := fields[i+1]; err == nil && cost > 0 && measured[unit] {
			all = add(all, series{name: m[1], dimension: m[2], unit: unit}, point{size, cost})
		}
	}
	return all
}

func add(all []*series, of series, p point) []*series {
	for _, s := range all {
		if s.name == of.name && s.dimension == of.dimension && s.unit == of.unit {
			s.points = append(s.points, p)
			return all
		}
	}
	of.points = []point{p}
	return append(all, &of)
}

// exponent is the slope of the line through the logarithms, by least squares.
func exponent(points []point) float64 {
	var x, y, xx, xy float64
	for _, p := range points {
		lx, ly := math.Log(p.size), math.Log(p.cost)
		x, y, xx, xy = x+lx, y+ly, xx+lx*lx, xy+lx*ly
	}
	n := float64(len(points))
	return (n*xy - x*y) / (n*xx - x*x)
}

func show(p point) string { return fmt.Sprintf("%.0f: %.3g", p.size, p.cost) }
