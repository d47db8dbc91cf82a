package announce

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The usual control sockets of BIRD and of FRR's zebra.
var (
	BIRDSockets = []string{"/run/bird/bird.ctl", "/var/run/bird.ctl", "/run/bird.ctl"}
	FRRSockets  = []string{"/run/frr/zebra.vty", "/var/run/frr/zebra.vty"}
)

const (
	daemonInterval = 2 * time.Second // between attempts to connect
	daemonTimeout  = time.Second
	// daemonMisses is how many attempts in a row find no daemon before it counts as gone: a
	// restart takes less.
	daemonMisses = 2
)

// daemonWatch follows routing daemons by their control sockets.
type daemonWatch struct {
	dial    func(socket string) error
	listens func(socket string) (listens, known bool) // where dial is not permitted
	changed func()

	mu     sync.Mutex
	misses map[string]int  // attempts since a daemon was found, by configured socket
	runs   map[string]bool // by configured socket; without an entry it is not known
}

func newDaemonWatch(changed func()) *daemonWatch {
	return &daemonWatch{changed: changed, misses: map[string]int{}, runs: map[string]bool{}, listens: Listens, dial: func(socket string) error {
		c, err := net.DialTimeout("unix", socket, daemonTimeout)
		if err == nil {
			c.Close()
		}
		return err
	}}
}

// set replaces the sockets that are watched; "" is the usual ones.
func (w *daemonWatch) set(announces []Announce) {
	w.mu.Lock()
	defer w.mu.Unlock()
	misses := map[string]int{}
	for _, a := range announces {
		misses[a.Daemon] = w.misses[a.Daemon]
	}
	w.misses = misses
	maps.DeleteFunc(w.runs, func(socket string, _ bool) bool { _, stays := misses[socket]; return !stays })
}

// state returns whether each daemon runs, by its configured socket. One at a usual place
// that was never seen has no entry: it may have its socket elsewhere.
func (w *daemonWatch) state() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.runs)
}

func (w *daemonWatch) run(ctx context.Context) {
	ticker := time.NewTicker(daemonInterval)
	defer ticker.Stop()
	for {
		w.probe()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// probe tries to connect to each daemon.
func (w *daemonWatch) probe() {
	w.mu.Lock()
	sockets := maps.Clone(w.misses)
	w.mu.Unlock()
	for socket := range sockets {
		runs, seen := w.allAnswer(socket)
		if !seen {
			continue
		}
		w.mu.Lock()
		_, wanted := w.misses[socket]
		before, known := w.runs[socket]
		switch {
		case !wanted:
		case runs:
			w.misses[socket], w.runs[socket] = 0, true
		case known || socket != "":
			if w.misses[socket]++; w.misses[socket] >= daemonMisses {
				w.runs[socket] = false
			}
		}
		now, knownNow := w.runs[socket]
		w.mu.Unlock()
		if now != before || known != knownNow {
			w.changed()
		}
	}
}

// Required returns the control sockets that must accept connections for the configured one.
// FRR's bgpd gets the routes from the zebra beside it, and while that one is gone continues to
// announce those that it had, also what was withdrawn since.
func Required(socket string) []string {
	if folder, name := filepath.Split(socket); name == "bgpd.vty" {
		return []string{socket, filepath.Join(folder, "zebra.vty")}
	}
	return []string{socket}
}

// allAnswer is answers for all sockets that a configured one requires.
func (w *daemonWatch) allAnswer(socket string) (runs, seen bool) {
	runs, seen = true, true
	for _, s := range Required(socket) {
		r, known := w.answers(s)
		if known && !r {
			return false, true
		}
		runs, seen = runs && r, seen && known
	}
	return runs, seen
}

// answers reports whether a daemon accepts connections on a socket. One that is busy does,
// and one that this process may not use where a process listens on it. Not seen: that is not
// known, or this process stood still for the time of the attempt, since the kernel itself
// replies at once.
func (w *daemonWatch) answers(socket string) (runs, seen bool) {
	sockets := []string{socket}
	if socket == "" {
		sockets = append(append([]string{}, BIRDSockets...), FRRSockets...)
	}
	seen = true
	for _, s := range sockets {
		switch err := w.dial(s); {
		case errors.Is(err, context.DeadlineExceeded):
			seen = false
		case errors.Is(err, fs.ErrPermission):
			// The kernel looks at the file's mode before it looks for a process that listens
			// (unix_find_bsd in af_unix.c), so a file that a crash left gives this error too.
			listens, known := w.listens(s)
			if listens {
				return true, true
			}
			seen = seen && known
		case !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED):
			return true, true
		}
	}
	return false, seen
}

// Listens reports whether a process of this network namespace listens on the control socket
// of that path, which needs no rights on it; not known: the kernel's list cannot be read.
func Listens(socket string) (listens, known bool) {
	f, err := os.Open("/proc/self/net/unix")
	if err != nil {
		return false, false
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if path, accepts := listener(scanner.Text()); accepts && samePath(path, socket) {
			return true, true
		}
	}
	return false, scanner.Err() == nil
}

// acceptsConnections is __SO_ACCEPTCON of linux/net.h, in the flags of a socket that listens.
const acceptsConnections = 1 << 16

// listener returns the path in a line of /proc/net/unix, whose fields are Num RefCount
// Protocol Flags Type St Inode Path, and whether its socket listens.
func listener(line string) (path string, accepts bool) {
	fields := strings.Fields(line)
	if len(fields) < 8 {
		return "", false
	}
	flags, err := strconv.ParseUint(fields[3], 16, 64)
	return fields[7], err == nil && flags&acceptsConnections != 0
}

// samePath reports whether two paths lead to one file: /var/run is a link to /run.
func samePath(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}
