package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/configfile"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// countingKernel is a kernel in memory that reports when all real servers have a weight.
type countingKernel struct {
	ipvs.Kernel
	missing int
	full    chan struct{}
}

func (k *countingKernel) Apply(op ipvs.Op) error {
	if op.Destination.Weight > 0 && op.FromDestination.Weight == 0 {
		if k.missing--; k.missing == 0 {
			close(k.full)
		}
	}
	return k.Kernel.Apply(op)
}

// startFile is a configuration of n real servers with connect checks on loopback
// addresses.
func startFile(folder string, n, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[global]\nstate_dir = %q\ncontrol_socket = %q\nhttp_listen = \"\"\n[[director]]\nname = \"lb1\"\naddress = \"127.0.0.1\"\n",
		filepath.Join(folder, "state"), filepath.Join(folder, "control.sock"))
	for i := range n {
		hi, lo := i/20/256, i/20%256
		if i%20 == 0 {
			fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"10.99.%d.%d:80\"\nscheduler = \"wlc\"\nforward = \"nat\"\n"+
				"check = { type = \"connect\", interval = \"10s\" }\nreal_servers = [\n", i/20, hi, lo)
		}
		fmt.Fprintf(&b, "  { address = \"127.%d.%d.%d:%d\", weight = 2 },\n", 1+hi, lo, 1+i%20, port)
		if i%20 == 19 {
			b.WriteString("]\n")
		}
	}
	return b.String()
}

// BenchmarkStart is a start, from New until the kernel, a fake, has each real server with
// its weight.
func BenchmarkStart(b *testing.B) {
	real := accepting(b, "0.0.0.0:0")
	for _, n := range []int{2000, 10_000} {
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				folder := b.TempDir()
				path := filepath.Join(folder, "lvsd.toml")
				if err := os.WriteFile(path, []byte(startFile(folder, n, real.Addr().(*net.TCPAddr).Port)), 0o600); err != nil {
					b.Fatal(err)
				}
				kernel := &countingKernel{Kernel: ipvstest.New(), missing: n, full: make(chan struct{})}
				b.StartTimer()
				d, err := New(Options{Source: &configfile.Source{Path: path, Director: "lb1"}, Strict: true, Stderr: io.Discard,
					OpenKernel: func() (ipvs.Kernel, error) { return kernel, nil }})
				if err != nil {
					b.Fatal(err)
				}
				ctx, stop := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx) }()
				<-kernel.full
				b.StopTimer()
				stop()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
