package logging

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

const logToClosedPipe = "LVSD_TEST_LOG_TO_CLOSED_PIPE"

func TestMain(m *testing.M) {
	if os.Getenv(logToClosedPipe) != "" {
		log := New(os.Stderr, "text")
		for range 100 {
			log.Info("line")
		}
		log.Close()
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// TestTheReaderOfTheLogGoesAway: a process that logs to a closed pipe continues, and
// does not end by SIGPIPE.
func TestTheReaderOfTheLogGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), logToClosedPipe+"=1"), w, 10*time.Second
	err = cmd.Run()
	w.Close()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 7 {
		t.Errorf("the process ended: %v", err)
	}
}
