package measure

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

// Main runs f in the lab with the absolute path of lvsd. An interrupt ends it; a
// failure is printed and ends the program with exit code 1.
func Main(lvsd string, f func(ctx context.Context, tb lab.TB, binary string)) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	binary, err := filepath.Abs(lvsd)
	if err == nil {
		err = lab.Run(ctx, "bench", func(string, ...any) {}, func(ctx context.Context, tb lab.TB) { f(ctx, tb, binary) })
	}
	if err != nil {
		Fatal(err)
	}
}

// Fatal prints an error and ends the program.
func Fatal(err error) {
	fmt.Printf("FAILED: %v\n", err)
	os.Exit(1)
}

// Machine describes the kernel and the number of processors.
func Machine() string {
	version, _ := os.ReadFile("/proc/version")
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	kind := "this machine's own kernel"
	if strings.Contains(string(cpu), "User Mode Linux") {
		kind = "User-Mode Linux"
	}
	return fmt.Sprintf("%s, %d cpu: %s", kind, runtime.NumCPU(), strings.Join(strings.Fields(string(version))[:3], " "))
}

// Keepalived returns the version that keepalived prints.
func Keepalived() string {
	out, _ := exec.Command("keepalived", "--version").CombinedOutput()
	version, _, _ := strings.Cut(string(out), "\n")
	return version
}

// CPUTime returns the processor time that a process has used, in ticks of 10 ms.
func CPUTime(pid int) time.Duration {
	return time.Duration(stat(pid, 11)+stat(pid, 12)) * 10 * time.Millisecond
}

// ReapedTime returns what the children of a process used that it has waited for, as
// CPUTime does.
func ReapedTime(pid int) time.Duration {
	return time.Duration(stat(pid, 13)+stat(pid, 14)) * 10 * time.Millisecond
}

// Processes returns a process and its descendants.
func Processes(pid int) []int {
	all := []int{pid}
	entries, _ := os.ReadDir("/proc")
	for i := 0; i < len(all); i++ {
		for _, e := range entries {
			if child, err := strconv.Atoi(e.Name()); err == nil && stat(child, 1) == all[i] {
				all = append(all, child)
			}
		}
	}
	return all
}

// WakeUps returns how often the threads of a process, of those that live now, were
// scheduled after they had waited.
func WakeUps(pid int) (n int) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range threads {
		n += sizes(fmt.Sprintf("/proc/%d/task/%s/status", pid, t.Name()))["voluntary_ctxt_switches:"]
	}
	return n
}

// Proportional returns the resident memory of a process in KiB, where what several
// processes share counts in parts (PSS): its own, and that of files, which is the program.
func Proportional(pid int) (own, files int) {
	all := sizes(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	return all["Pss:"] - all["Pss_File:"], all["Pss_File:"]
}

// sizes reads the numbers of a file of /proc with lines such as "Name: 12 kB".
func sizes(path string) map[string]int {
	text, _ := os.ReadFile(path)
	all := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 {
			all[f[0]], _ = strconv.Atoi(f[1])
		}
	}
	return all
}

// PageFaults returns the number of minor page faults of a process. In User-Mode Linux
// each costs some tenths of a millisecond.
func PageFaults(pid int) int { return stat(pid, 7) }

// stat returns a field of /proc/PID/stat, counted from 0 after the name.
func stat(pid, field int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) <= field {
		return 0
	}
	n, _ := strconv.Atoi(fields[field])
	return n
}

// Memory returns the current and the highest resident size of a process.
func Memory(pid int) string {
	size := sizes(fmt.Sprintf("/proc/%d/status", pid))
	return fmt.Sprintf("%.1f MiB (peak %.1f)", float64(size["VmRSS:"])/1024, float64(size["VmHWM:"])/1024)
}
