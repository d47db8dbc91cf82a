package director

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"lvsd/checker"
	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// bigFile is a configuration of n real servers in services of 20; changed is
// the weight of one in the middle.
func bigFile(n, changed int) string {
	var b strings.Builder
	for i := range n {
		if i%20 == 0 {
			if i > 0 {
				b.WriteString("]\n")
			}
			fmt.Fprintf(&b, "\n[[virtual_service]]\nname = \"s%d\"\naddress = \"10.99.%d.%d:80\"\nscheduler = \"wlc\"\ncheck = { type = \"on\" }\nreal_servers = [\n", i/20, i/20/256, i/20%256)
		}
		weight := 1
		if i == n/2 {
			weight = changed
		}
		fmt.Fprintf(&b, "  { address = \"10.%d.%d.%d\", weight = %d },\n", 128+i/20/256, i/20%256, 1+i%20, weight)
	}
	b.WriteString("]\n")
	return b.String()
}

// BenchmarkReload is one changed weight, from the text of the file until the
// kernel, a fake, has it: parsing, checks, decision, comparison, write.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{2000, 10_000, 37_205} {
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			texts := [][]byte{[]byte(bigFile(n, 1)), []byte(bigFile(n, 7))}
			next := 0
			var f *config.File
			load := func() (_ *config.Config, _ []string, err error) {
				if f, err = config.ParseAfter(f, "lvsd.toml", texts[next%2]); err != nil {
					return nil, nil, err
				}
				next++
				c, err := f.For("lb1")
				return c, nil, err
			}
			log := slog.New(slog.DiscardHandler)
			fake := ipvstest.New()
			var d *Director
			wake := func() { d.Wake() }
			table := ipvs.NewReconciler(fake, ipvs.Options{Log: log, Wake: wake})
			checks := checker.New(checker.Options{Log: log, Wake: wake})
			d = New(Deps{Log: log, Events: &event.Recorder{Log: log}, Table: table, Checker: checks, Load: load})
			first, _, err := load()
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Prepare(first); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended := make(chan error, 3)
			for _, task := range []func(context.Context) error{table.Run, checks.Run, d.Run} {
				go func() { ended <- task(ctx) }()
			}
			if o := d.Reload(ctx); o.Refused != nil || o.Pending != nil {
				b.Fatal(o)
			}
			b.ReportAllocs()
			for b.Loop() {
				if o := d.Reload(ctx); o.Refused != nil || o.Pending != nil {
					b.Fatal(o)
				}
			}
			b.StopTimer()
			cancel()
			for range 3 {
				<-ended
			}
		})
	}
}
