package trybind

import (
	"errors"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{l.Addr().String(), ":" + port} {
		if err := TCP(address); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: %v, want in use", address, err)
		}
	}
	l.Close()
	for _, address := range []string{l.Addr().String(), ":" + port} {
		if err := TCP(address); err != nil {
			t.Errorf("%s: %v, want free", address, err)
		}
	}
}

// TestATrialTakesNoPort: a listener can be opened while the port is being tried.
func TestATrialTakesNoPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	stop := make(chan struct{})
	var trials sync.WaitGroup
	for range 4 {
		trials.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = TCP(address)
				}
			}
		})
	}
	for range 500 {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			break
		}
		l.Close()
	}
	close(stop)
	trials.Wait()
}
